# SPDX-License-Identifier: BSD-2-Clause
"""What the integration tests stand on: private servers, a stack of leeway's programs over them,
HTTP and FastCGI clients. Everything listens on Unix sockets in a temporary folder, but for
lighttpd on one loopback port."""
