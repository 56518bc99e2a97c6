/* SPDX-License-Identifier: BSD-2-Clause */
/* What leeway is measured against: a FastCGI program as the library's manual would have it. It
   sends the same bytes to everybody, from memory or out of Redis by one GET.

   plain_fcgi WORKERS fixed BYTES            a body of so many bytes
   plain_fcgi WORKERS get REDIS-SOCKET KEY   the string at KEY, header lines included

   The listening socket is descriptor 0. Ends, with its workers, on TERM; with 0 workers it serves
   itself. */
#include <fcgiapp.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void send_fixed(FCGX_Request *request, const char *body, size_t len)
{
    FCGX_FPrintF(request->out,
                 "Status: 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
                 (int)len);
    FCGX_PutStr(body, (int)len, request->out);
}

static void send_stored(FCGX_Request *request, redisContext *redis, const char *key)
{
    redisReply *reply = redisCommand(redis, "GET %s", key);

    if (reply == NULL || reply->type != REDIS_REPLY_STRING)
        FCGX_PutS("Status: 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", request->out);
    else
        FCGX_PutStr(reply->str, (int)reply->len, request->out);
    if (reply != NULL)
        freeReplyObject(reply);
}

static void serve(char **argv)
{
    const char *socket_or_size = argv[3];
    redisContext *redis = strcmp(argv[2], "get") == 0 ? redisConnectUnix(socket_or_size) : NULL;
    size_t len = redis == NULL ? (size_t)atol(socket_or_size) : 0;
    char *body = malloc(len + 1);
    FCGX_Request request;

    if (body == NULL || (redis != NULL && redis->err != 0))
        exit(1);
    memset(body, 'x', len);
    FCGX_Init();
    FCGX_InitRequest(&request, 0, 0);
    while (FCGX_Accept_r(&request) >= 0) {
        if (redis != NULL)
            send_stored(&request, redis, argv[4]);
        else
            send_fixed(&request, body, len);
        FCGX_Finish_r(&request);
    }
}

int main(int argc, char **argv)
{
    if (argc < 4 || (strcmp(argv[2], "get") == 0 && argc < 5)) {
        fprintf(stderr, "usage: %s WORKERS fixed BYTES | get SOCKET KEY\n", argv[0]);
        return 2;
    }
    if (atoi(argv[1]) == 0)
        serve(argv);
    for (int i = atoi(argv[1]); i > 0; i--) {
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            serve(argv);
            return 0;
        }
    }
    while (wait(NULL) > 0)
        continue;
    return 0;
}
