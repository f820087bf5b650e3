/* For shell tests: http PORT METHOD PATH [TOKEN] prints the status and the body, and exits with 0 when it is 2xx. */
#include <stdio.h>
#include <stdlib.h>

#include "http_client.h"

int main(int count, char **arguments) {
    static http_answer answer;
    char headers[512];
    if (count < 4) return 2;
    int length = snprintf(headers, sizeof headers, "Host: localhost\r\n");
    if (count > 4)
        snprintf(headers + length, sizeof headers - (size_t)length, "Authorization: Bearer %s\r\n", arguments[4]);
    http_ask((unsigned)strtoul(arguments[1], NULL, 10), arguments[2], arguments[3], headers, &answer);
    printf("%u\n%s", answer.status, answer.body);
    return answer.status / 100 == 2 ? 0 : 1;
}
