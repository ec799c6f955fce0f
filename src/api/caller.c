/* Who asks: the account stays with the exchange, in the server's space for notes. */
#include "caller.h"

struct caller {
    bool known;
    struct ms_account account;
};
_Static_assert(sizeof(struct caller) <= MS_HTTP_NOTES_BYTES, "MS_HTTP_NOTES_BYTES is too small");

const struct ms_account *ms_api_caller(const struct ms_exchange *exchange) {
    const struct caller *caller = ms_http_notes(exchange);
    return caller->known ? &caller->account : NULL;
}
