/* Names and scopes of accounts. Pure. */
#include "msaas/account.h"

#include <stdio.h>
#include <string.h>

#include "msaas/text.h"

static const struct {
    unsigned scope;
    const char *name;
} table[] = {{MS_SCOPE_SUBMIT, "submit"}, {MS_SCOPE_READ, "read"}, {MS_SCOPE_ADMIN, "admin"}};
#define SCOPES (sizeof table / sizeof *table)

bool ms_account_name_is_valid(const char *name) {
    const size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    return size > 0 && size < MS_ACCOUNT_NAME_BYTES && name[size] == '\0';
}

int ms_scopes_parse(const char *text, unsigned *scopes, struct ms_error *err) {
    size_t size;
    *scopes = 0;
    for (const char *at = text; (at = ms_text_word(at, &size)) != NULL; at += size) {
        size_t i = 0;
        while (i < SCOPES &&
               (strlen(table[i].name) != size || memcmp(table[i].name, at, size) != 0))
            i++;
        if (i == SCOPES)
            return ms_error_set(err, MS_EUSAGE, "unknown scope \"%.*s\": use submit, read or admin",
                                (int)(size < 32 ? size : 32), at);
        *scopes |= table[i].scope;
    }
    return *scopes != 0
               ? 0
               : ms_error_set(err, MS_EUSAGE, "no scope is named: use submit, read or admin");
}

void ms_scopes_text(unsigned scopes, char text[MS_SCOPES_TEXT_BYTES]) {
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; i < SCOPES; i++)
        if ((scopes & table[i].scope) != 0)
            length += (size_t)snprintf(text + length, MS_SCOPES_TEXT_BYTES - length, "%s%s",
                                       length > 0 ? "," : "", table[i].name);
}
