/* SPDX-License-Identifier: MIT
 *
 * Patterns for names.
 */
#include "image/image.h"

/* "*" stands for any text, "?" for one character, as in a shell without brackets. Without recursion: only
 * the last star can matter. */
bool rdf_image_glob(const char *pattern, const char *text)
{
    const char *star = NULL;
    const char *resume = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == 0;
}
