/* The page, put into the program as it is: see page.h. The Makefile knows that this file depends on page.html. */
#include "web/page.h"

#include <stdio.h>
#include <string.h>

#include "web/hash.h"

#if defined(__APPLE__)
__asm__(".section __TEXT,__const\n_levee_page:\n.incbin \"src/web/page.html\"\n_levee_page_end:\n.byte 0\n.text\n");
#else
__asm__(".section .rodata\nlevee_page:\n.incbin \"src/web/page.html\"\nlevee_page_end:\n.byte 0\n.text\n");
#endif
extern const char levee_page[], levee_page_end[];

const char *page_text(size_t *bytes) {
    *bytes = (size_t)(levee_page_end - levee_page);
    return levee_page;
}

/* The hash of what lies between two marks; the page has each once. */
static void hash_between(char text[HASH_TEXT_BYTES], const char *begin, const char *end) {
    size_t bytes;
    const char *page = page_text(&bytes);
    const char *from = memmem(page, bytes, begin, strlen(begin));
    const char *after = from ? from + strlen(begin) : page;
    const char *to = memmem(after, (size_t)(levee_page_end - after), end, strlen(end));
    hash_text(text, after, to ? (size_t)(to - after) : 0);
}

void page_policy(char policy[PAGE_POLICY_BYTES]) {
    char script[HASH_TEXT_BYTES], style[HASH_TEXT_BYTES];
    hash_between(script, "<script>", "</script>");
    hash_between(style, "<style>", "</style>");
    snprintf(policy, PAGE_POLICY_BYTES,
             "default-src 'none'; script-src 'sha256-%s'; style-src 'sha256-%s'; connect-src 'self'; img-src data:; "
             "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
             script, style);
}
