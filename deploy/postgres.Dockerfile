# Postgres from Debian's own packages, for engines that can't pull the official image. It takes the same POSTGRES_USER,
# POSTGRES_PASSWORD and POSTGRES_DB.
#   docker build -f deploy/postgres.Dockerfile -t whochanged-postgres deploy
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN mkdir -p /etc/postgresql-common \
 && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql \
 && rm -rf /var/lib/apt/lists/*
COPY postgres-entrypoint /usr/local/bin/postgres-entrypoint
RUN install -d -m 700 -o postgres -g postgres /var/lib/postgresql/data \
 && install -d -m 775 -o postgres -g postgres /run/postgresql
ENV PGDATA=/var/lib/postgresql/data LC_ALL=C.UTF-8
VOLUME /var/lib/postgresql
USER postgres
EXPOSE 5432
# A fast shutdown: SIGTERM would wait for every client to leave.
STOPSIGNAL SIGINT
ENTRYPOINT ["/usr/local/bin/postgres-entrypoint"]
