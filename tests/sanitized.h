/* Is this built with a sanitizer? Then the allocator is the sanitizer's, which a test cannot put functions of its own
 * in the place of, and no small budget holds. */
#ifndef LEVEE_TESTS_SANITIZED_H
#define LEVEE_TESTS_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#endif
