/* A port for a server that cannot choose one itself. */
#ifndef MSAAS_TEST_SERVER_PORT_H
#define MSAAS_TEST_SERVER_PORT_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "must.h"

/* Below the ports that the kernel gives away and those of ports.py, and another one for each
 * process: between this look and the server's start nobody else takes it, neither a client nor
 * another test's server. */
static inline int find_server_port(void) {
    for (int number = 10000 + getpid() % 5000;; number++) {
        const struct sockaddr_in address = {.sin_family = AF_INET,
                                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                            .sin_port = htons((uint16_t)number)};
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        must(fd >= 0 && number < 1 << 15);
        const int rc = bind(fd, (const struct sockaddr *)&address, sizeof address);
        (void)close(fd);
        if (rc == 0)
            return number;
    }
}

#endif
