/* held FILE COMMAND...: runs a command and writes the most bytes that it ever held (RssAnon + RssShmem, read from
 * outside about every half millisecond) into FILE, and on a second line the most that was resident, file pages
 * included. Exits as the command does. So much sampling takes a tenth of a processor from what it looks at:
 * HELD_MILLISECONDS is how long to wait where speed is measured too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long held_bytes(const char *path) {
    char text[4096];
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    size_t bytes = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[bytes] = 0;
    const char *anonymous = strstr(text, "RssAnon:"), *shared = strstr(text, "RssShmem:");
    return anonymous && shared ? (atoll(anonymous + 8) + atoll(shared + 9)) * 1024 : 0;
}

int main(int count, char **arguments) {
    if (count < 3) return 2;
    pid_t child = fork();
    if (!child) {
        execvp(arguments[2], arguments + 2);
        _exit(127);
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", (int)child);
    const char *asked = getenv("HELD_MILLISECONDS");
    long wait = asked ? atol(asked) * 1000000 : 500000;
    long long most = 0;
    int status = 0;
    struct rusage used = {0};
    while (!wait4(child, &status, WNOHANG, &used)) {
        long long now = held_bytes(path);
        if (now > most) most = now;
        nanosleep(&(struct timespec){.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000}, NULL);
    }
    FILE *file = fopen(arguments[1], "w");
    if (!file) return 74;
    fprintf(file, "%lld\n%lld\n", most, (long long)used.ru_maxrss * 1024);
    fclose(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
