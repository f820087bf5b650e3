/* The page: one HTML text that the program carries in itself, with its script and its style, and the policy that lets
 * a browser run these and load nothing else. */
#ifndef LEVEE_WEB_PAGE_H
#define LEVEE_WEB_PAGE_H

#include <stddef.h>

enum { PAGE_POLICY_BYTES = 512 };

/* The text, not ended by a NUL. */
const char *page_text(size_t *bytes);

/* The Content-Security-Policy: script and style by their hashes, connections to where the page came from. */
void page_policy(char policy[PAGE_POLICY_BYTES]);

#endif
