/* The ceiling: bytes received over TCP, hashed and written, by a program that does nothing else.
 *
 *   ceiling can                                              prints what it hashes and encrypts with
 *   ceiling serve FILE CONGESTION [CERTIFICATE KEY]          prints its port, serves until its input ends
 *   ceiling fetch SIZE LANES FILES CONGESTION plain|tls PORT...
 *       for each directory on its input fetches SIZE bytes to FILES files there, over LANES
 *       connections, each to the next port; prints seconds, and the lanes' processor time for
 *       receiving (with TLS: and decrypting), hashing and writing
 *
 * CONGESTION is the name of a congestion control, or "system". BLAKE3 comes from a shared library
 * that has it: its own, or that of LLVM. Compiled by compiling.py; only for benchmarks.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

#define BLOCK_BYTES (1 << 20) /* what ckptd verifies at once in a unit of 2 GiB */
#define PIECE_BYTES (256 << 10)
#define RECORDS_BYTES (128 << 10)
#define HASHER_BYTES 4096 /* more than any version's */
#define LANES_MAX 256

static void fail(const char *what) {
    fprintf(stderr, "ceiling: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* Begins at a page, so that copies are fast whatever the processor. */
static char *buffer(size_t size) {
    char *made = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED) fail("mmap");
    return made;
}

/* --- BLAKE3 of a shared library --- */

static const char *hash_library = "";
static void (*hash_init)(void *);
static void (*hash_update)(void *, const void *, size_t);
static void (*hash_final)(const void *, uint8_t *, size_t);

static void load_hash(void) {
    static const struct {
        const char *file, *prefix;
    } known[] = {
        {"libblake3.so.1", ""},           {"libblake3.so.0", ""},
        {"libblake3.so", ""},             {"libLLVM.so.22.1", "llvm_"},
        {"libLLVM.so.21.1", "llvm_"},     {"libLLVM.so.20.1", "llvm_"},
        {"libLLVM.so.19.1", "llvm_"},     {"libLLVM.so.18.1", "llvm_"},
        {"libLLVM-17.so.1", "llvm_"},     {"libLLVM-16.so.1", "llvm_"},
        {"libLLVM-15.so.1", "llvm_"},
    };
    for (size_t n = 0; n < sizeof known / sizeof *known && !hash_init; n++) {
        void *library = dlopen(known[n].file, RTLD_NOW);
        if (!library) continue;
        char name[64];
        snprintf(name, sizeof name, "%sblake3_hasher_init", known[n].prefix);
        *(void **)&hash_init = dlsym(library, name);
        snprintf(name, sizeof name, "%sblake3_hasher_update", known[n].prefix);
        *(void **)&hash_update = dlsym(library, name);
        snprintf(name, sizeof name, "%sblake3_hasher_finalize", known[n].prefix);
        *(void **)&hash_final = dlsym(library, name);
        if (hash_init && hash_update && hash_final)
            hash_library = known[n].file;
        else
            hash_init = NULL;
    }
}

/* --- connections --- */

struct connection {
    int fd;
#ifdef WITH_TLS
    SSL *tls;
#endif
};

static void choose_options(int fd, const char *name) {
    int yes = 1; /* What is left of a record never waits for an acknowledgement. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (strcmp(name, "system") &&
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, strlen(name)) != 0)
        fail(name);
}

#ifdef WITH_TLS
static SSL_CTX *tls_context;

static void tls_fail(const char *what) {
    ERR_print_errors_fp(stderr);
    fail(what);
}

static void prepare_tls(int serves, const char *certificate, const char *key) {
    tls_context = SSL_CTX_new(serves ? TLS_server_method() : TLS_client_method());
    SSL_CTX_set_min_proto_version(tls_context, TLS1_3_VERSION);
    SSL_CTX_set_read_ahead(tls_context, 1);
    SSL_CTX_set_default_read_buffer_len(tls_context, RECORDS_BYTES);
    if (serves && (SSL_CTX_use_certificate_chain_file(tls_context, certificate) != 1 ||
                   SSL_CTX_use_PrivateKey_file(tls_context, key, SSL_FILETYPE_PEM) != 1))
        tls_fail("certificate");
}

static void begin_tls(struct connection *with, int serves) {
    with->tls = SSL_new(tls_context);
    SSL_set_fd(with->tls, with->fd);
    if ((serves ? SSL_accept(with->tls) : SSL_connect(with->tls)) != 1) tls_fail("handshake");
    if (!serves) return;
    /* Several records go to the kernel in one call. */
    BIO *records = BIO_new(BIO_f_buffer());
    BIO_set_write_buffer_size(records, RECORDS_BYTES);
    BIO_push(records, SSL_get_wbio(with->tls));
    BIO_up_ref(SSL_get_rbio(with->tls));
    SSL_set0_wbio(with->tls, records);
}
#endif

/* Returns 0 at the end of the stream, else 1 with all of it. */
static int take(struct connection *from, char *into, size_t size) {
    size_t done = 0;
    while (done < size) {
        ssize_t got;
#ifdef WITH_TLS
        if (from->tls)
            got = SSL_read(from->tls, into + done, size - done);
        else
#endif
            got = recv(from->fd, into + done, size - done, MSG_WAITALL);
        if (got <= 0) return 0;
        done += got;
    }
    return 1;
}

static int give(struct connection *to, const char *from, size_t size) {
#ifdef WITH_TLS
    if (to->tls) return SSL_write(to->tls, from, size) == (int)size;
#endif
    return send(to->fd, from, size, MSG_NOSIGNAL) == (ssize_t)size;
}

/* --- the sending side --- */

static int served;
static int serves_tls;

static void *answer(void *given) {
    struct connection with = {.fd = (int)(intptr_t)given};
    uint64_t asked[2];
    char *piece = NULL;
#ifdef WITH_TLS
    if (serves_tls) {
        begin_tls(&with, 1);
        piece = buffer(PIECE_BYTES);
    }
#endif
    while (take(&with, (char *)asked, sizeof asked)) {
        off_t at = asked[0], end = asked[1];
        while (at < end) {
            ssize_t sent;
            if (piece) {
                size_t wanted = end - at < PIECE_BYTES ? end - at : PIECE_BYTES;
                sent = pread(served, piece, wanted, at);
                if (sent <= 0 || !give(&with, piece, sent)) return NULL;
                at += sent;
            } else {
                sent = sendfile(with.fd, served, &at, end - at);
                if (sent <= 0) return NULL;
            }
        }
#ifdef WITH_TLS
        if (with.tls) (void)BIO_flush(SSL_get_wbio(with.tls));
#endif
    }
    return NULL;
}

static void *accept_all(void *given) {
    for (;;) {
        int fd = accept((int)(intptr_t)given, NULL, NULL);
        if (fd < 0) fail("accept");
        pthread_t thread;
        pthread_create(&thread, NULL, answer, (void *)(intptr_t)fd);
        pthread_detach(thread);
    }
    return NULL;
}

static void serve(int count, char **words) {
    served = open(words[0], O_RDONLY);
    if (served < 0) fail(words[0]);
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    choose_options(listening, words[1]);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listening, (struct sockaddr *)&address, size) || listen(listening, LANES_MAX))
        fail("listen");
    getsockname(listening, (struct sockaddr *)&address, &size);
    serves_tls = count == 4;
#ifdef WITH_TLS
    if (serves_tls) prepare_tls(1, words[2], words[3]);
#endif
    pthread_t thread;
    pthread_create(&thread, NULL, accept_all, (void *)(intptr_t)listening);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    while (getchar() != EOF) continue;
}

/* --- the receiving side --- */

static pthread_mutex_t turns[LANES_MAX]; /* The kernel lets one thread at a time write to a file. */

struct lane {
    struct connection from;
    char *block;
    uint64_t start, end; /* of the source */
    int file, number;
    double receiving_s, hashing_s, writing_s;
    pthread_t thread;
};

static void *move(void *given) {
    struct lane *lane = given;
    uint64_t asked[2] = {lane->start, lane->end};
    _Alignas(64) char hasher[HASHER_BYTES];
    uint8_t digest[32];
    lane->receiving_s = lane->hashing_s = lane->writing_s = 0;
    if (!give(&lane->from, (char *)asked, sizeof asked)) fail("asking");
    double last = seconds(CLOCK_THREAD_CPUTIME_ID), now;
    for (uint64_t at = lane->start; at < lane->end; at += BLOCK_BYTES) {
        size_t size = lane->end - at < BLOCK_BYTES ? lane->end - at : BLOCK_BYTES;
        if (!take(&lane->from, lane->block, size)) fail("receiving");
        lane->receiving_s += (now = seconds(CLOCK_THREAD_CPUTIME_ID)) - last;
        last = now;
        if (hash_init) {
            hash_init(hasher);
            hash_update(hasher, lane->block, size);
            hash_final(hasher, digest, sizeof digest);
        }
        lane->hashing_s += (now = seconds(CLOCK_THREAD_CPUTIME_ID)) - last;
        last = now;
        pthread_mutex_lock(&turns[lane->number]);
        if (pwrite(lane->file, lane->block, size, at) != (ssize_t)size) fail("writing");
        pthread_mutex_unlock(&turns[lane->number]);
        lane->writing_s += (now = seconds(CLOCK_THREAD_CPUTIME_ID)) - last;
        last = now;
    }
    return NULL;
}

static struct connection join(int port, const char *congestion, int uses_tls) {
    struct connection made = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    choose_options(made.fd, congestion);
    if (connect(made.fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
#ifdef WITH_TLS
    if (uses_tls) {
        prepare_tls(0, NULL, NULL);
        begin_tls(&made, 0);
    }
#else
    if (uses_tls) fail("compiled without TLS");
#endif
    return made;
}

static void fetch(int count, char **words) {
    static struct lane lanes[LANES_MAX];
    static int files[LANES_MAX];
    uint64_t size = strtoull(words[0], NULL, 10);
    int lane_count = atoi(words[1]), file_count = atoi(words[2]), ports = count - 5;
    if (lane_count < 1 || lane_count > LANES_MAX || file_count < 1 || file_count > lane_count) {
        errno = EINVAL;
        fail("lanes, files");
    }
    for (int n = 0; n < lane_count; n++) {
        lanes[n].from =
            join(atoi(words[5 + n % ports]), words[3], strcmp(words[4], "tls") == 0);
        lanes[n].block = buffer(BLOCK_BYTES);
        pthread_mutex_init(&turns[n], NULL);
    }
    uint64_t blocks = (size + BLOCK_BYTES - 1) / BLOCK_BYTES;
    char *line = NULL;
    size_t line_size = 0;
    while (getline(&line, &line_size, stdin) > 0) {
        line[strcspn(line, "\n")] = 0;
        double began = seconds(CLOCK_MONOTONIC);
        for (int n = 0; n < file_count; n++) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", line, n ? "" : "shard");
            if (n) snprintf(path + strlen(path), 32, "shard-%d", n);
            files[n] = open(path, O_CREAT | O_WRONLY, 0644);
            if (files[n] < 0 || ftruncate(files[n], size)) fail(path);
        }
        for (int n = 0; n < lane_count; n++) {
            lanes[n].start = blocks * n / lane_count * BLOCK_BYTES;
            lanes[n].end = n + 1 < lane_count ? blocks * (n + 1) / lane_count * BLOCK_BYTES : size;
            lanes[n].number = n % file_count;
            lanes[n].file = files[n % file_count];
            pthread_create(&lanes[n].thread, NULL, move, &lanes[n]);
        }
        double receiving = 0, hashing = 0, writing = 0;
        for (int n = 0; n < lane_count; n++) {
            pthread_join(lanes[n].thread, NULL);
            receiving += lanes[n].receiving_s;
            hashing += lanes[n].hashing_s;
            writing += lanes[n].writing_s;
        }
        for (int n = 0; n < file_count; n++) close(files[n]);
        printf("%.6f %.6f %.6f %.6f\n", seconds(CLOCK_MONOTONIC) - began, receiving, hashing, writing);
        fflush(stdout);
    }
}

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    load_hash();
    if (count == 2 && !strcmp(words[1], "can")) {
#ifdef WITH_TLS
        const char *tls = OpenSSL_version(OPENSSL_VERSION);
#else
        const char *tls = "";
#endif
        printf("%s\n%s\n", hash_library, tls);
    } else if ((count == 4 || count == 6) && !strcmp(words[1], "serve")) {
        serve(count - 2, words + 2);
    } else if (count >= 8 && !strcmp(words[1], "fetch")) {
        fetch(count - 2, words + 2);
    } else {
        fprintf(stderr, "ceiling: can | serve | fetch; see the top of the source\n");
        return 2;
    }
    return 0;
}
