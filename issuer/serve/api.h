/*
 * The API's routes: one const table; what is not in it is refused.
 */
#ifndef WRIT_ISSUER_SERVE_API_H
#define WRIT_ISSUER_SERVE_API_H

#include "issuer/http/http.h"

/* The handler of the API's listener; ctx is the serve_loop. */
void api_request(struct http_request *, void *loop);

/*
 * Its turn has come, and time has passed since it was asked: by the time and the rules of now, is who asked still who he was
 * (I8)?  Nothing when no time has passed.
 */
struct work;
WRIT_CHECKED struct writ_err *api_again(struct work *);

#endif
