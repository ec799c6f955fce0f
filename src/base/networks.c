/* See networks.h. Owns nothing but the lists that it returns. */
#include "msaas/networks.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/text.h"

#define MAX_NETWORKS 256

struct ms_networks {
    int count;
    struct ms_subnet items[];
};

/* ---- addresses ---- */

void ms_ip_map_v4(const uint8_t v4[4], uint8_t out[16]) {
    memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    memcpy(out + 12, v4, 4);
}

bool ms_ip_parse(const char *text, uint8_t out[16]) {
    uint8_t v4[4];
    if (inet_pton(AF_INET, text, v4) != 1)
        return inet_pton(AF_INET6, text, out) == 1;
    ms_ip_map_v4(v4, out);
    return true;
}

bool ms_ip_of(const struct sockaddr *address, uint8_t out[16]) {
    if (address->sa_family == AF_INET)
        ms_ip_map_v4(
            (const uint8_t *)&((const struct sockaddr_in *)(const void *)address)->sin_addr, out);
    else if (address->sa_family == AF_INET6)
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    else
        return false;
    return true;
}

bool ms_ip_is_v4(const uint8_t ip[16]) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(ip, mapped, sizeof mapped) == 0;
}

bool ms_ip_is_loopback(const uint8_t ip[16]) {
    static const uint8_t one[16] = {[15] = 1};
    return ms_ip_is_v4(ip) ? ip[12] == 127 : memcmp(ip, one, sizeof one) == 0;
}

const char *ms_ip_text(const uint8_t ip[16], char out[MS_IP_TEXT_BYTES]) {
    const bool v4 = ms_ip_is_v4(ip);
    if (inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? ip + 12 : ip, out, MS_IP_TEXT_BYTES) == NULL)
        out[0] = '\0';
    return out;
}

/* ---- networks ---- */

bool ms_subnet_has(const struct ms_subnet *subnet, const uint8_t ip[16]) {
    const int whole = subnet->bits / 8, rest = subnet->bits % 8;
    if (memcmp(subnet->bytes, ip, (size_t)whole) != 0)
        return false;
    return rest == 0 || (subnet->bytes[whole] ^ ip[whole]) >> (8 - rest) == 0;
}

bool ms_subnet_parse(const char *text, struct ms_subnet *out) {
    const char *slash = strchr(text, '/');
    const size_t length = slash != NULL ? (size_t)(slash - text) : strlen(text);
    char address[INET6_ADDRSTRLEN];
    if (length >= sizeof address)
        return false;
    memcpy(address, text, length);
    address[length] = '\0';
    if (!ms_ip_parse(address, out->bytes))
        return false;
    out->bits = 128;
    if (slash == NULL)
        return true;
    if (slash[1] < '0' || slash[1] > '9')
        return false;
    const bool is_v4 = strchr(address, ':') == NULL;
    char *end;
    const long bits = strtol(slash + 1, &end, 10);
    if (*end != '\0' || bits > (is_v4 ? 32 : 128))
        return false;
    out->bits = (int)bits + (is_v4 ? 96 : 0);
    return true;
}

bool ms_ip_is_in(const char *network, const uint8_t ip[16]) {
    struct ms_subnet parsed;
    return ms_subnet_parse(network, &parsed) && ms_subnet_has(&parsed, ip);
}

int ms_networks_parse(const char *text, struct ms_networks **out, struct ms_error *err) {
    struct ms_networks *networks =
        calloc(1, sizeof *networks + MAX_NETWORKS * sizeof(struct ms_subnet));
    *out = NULL;
    if (networks == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a list of networks");
    size_t length;
    for (const char *at = text; (at = ms_text_word(at, &length)) != NULL; at += length) {
        char word[64];
        (void)snprintf(word, sizeof word, "%.*s",
                       (int)(length < sizeof word ? length : sizeof word), at);
        if (length >= sizeof word || networks->count == MAX_NETWORKS ||
            !ms_subnet_parse(word, &networks->items[networks->count])) {
            free(networks);
            return ms_error_set(err, MS_EUSAGE,
                                "\"%s\" is not an address or a network such as 10.1.0.0/16 or "
                                "fd00::/8, or there are more than %d",
                                word, MAX_NETWORKS);
        }
        networks->count++;
    }
    *out = networks;
    return 0;
}

void ms_networks_free(struct ms_networks *networks) {
    free(networks);
}

bool ms_networks_hold(const struct ms_networks *networks, const uint8_t ip[16]) {
    for (int i = 0; networks != NULL && i < networks->count; i++)
        if (ms_subnet_has(&networks->items[i], ip))
            return true;
    return false;
}
