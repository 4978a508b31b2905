/* Input: a snapshot without its last 32 bytes, the hash, which is made here.  What is accepted can be read to its end.
 */
#include <stdlib.h>

#include "base/digest.h"
#include "issuer/log/snapshot.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *file = malloc(len + SHA256_LEN), sum = 0;
	struct snapshot_row row;
	struct snapshot_edge edge;
	struct snapshot s;

	if (!file)
		return 0;
	if (len > 0)
		memcpy(file, data, len);
	writ_sha256((struct writ_bytes){ file, len }, file + len);
	if (fuzz_accepted(
		    snapshot_parse((struct writ_bytes){ file, len + SHA256_LEN }, len < 32 ? file : file + 24, &s))) {
		for (size_t i = 0; i < s.n_rows; i++) {
			snapshot_row(&s, i, &row);
			sum ^= row.serial[0] ^ row.key[7] ^ row.reason;
		}
		for (size_t i = 0; i < s.n_edges; i++) {
			snapshot_edge(&s, i, &edge);
			sum ^= edge.id[15];
		}
		for (size_t i = 0; i < s.own.len; i++)
			sum ^= s.own.data[i];
		FUZZ_CHECK(s.own.data + s.own.len == file + len);
	}
	free(file);
	return sum == 0 ? 0 : 0;
}
