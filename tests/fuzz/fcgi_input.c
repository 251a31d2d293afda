/* Whatever a peer sends: a head and a body come out, or a reason. */
#include "input.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct input in;
	char out[1000];
	int pair[2];

	/* more would wait for a reader */
	if (size > 100000 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 0;
	if (send(pair[0], data, size, MSG_DONTWAIT) == (ssize_t)size && shutdown(pair[0], SHUT_WR) == 0 &&
	    input_head(&in, pair[1], 1000, size % 2 == 1).p != NULL) {
		ssize_t n;
		size_t sum = 0;
		while ((n = input_read(&in, out, sizeof out, 1000)) > 0)
			sum += (size_t)n;
		if (sum > size || (n < 0) != (in.broken != NULL))
			abort();
		input_settle(&in, 1000);
	}
	close(pair[0]);
	close(pair[1]);
	return 0;
}
