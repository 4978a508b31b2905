/*
 * The API's routes: one const table; what is not in it is refused.
 */
#ifndef WRIT_ISSUER_SERVE_API_H
#define WRIT_ISSUER_SERVE_API_H

#include "issuer/http/http.h"

/* The handler of the API's listener; ctx is the serve_loop. */
void api_request(struct http_request *, void *loop);

#endif
