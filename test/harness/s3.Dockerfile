# fauxqs, the S3 server of the tests, in a container, for WHOCHANGED_TEST_S3_IMAGE where no other image can be pulled:
#   docker build -f test/harness/s3.Dockerfile -t whochanged-fauxqs test/harness
# With --build-arg BASE= any Debian; one that has no Node gets it from npm, Debian's own being too old.
ARG BASE=node:24-bookworm-slim
FROM ${BASE}
RUN command -v node >/dev/null \
 || (apt-get update \
     && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends npm \
     && rm -rf /var/lib/apt/lists/* \
     && npm install --global node@24)
RUN npm install --global fauxqs@1.9.2
ENV FAUXQS_PORT=4566 FAUXQS_HOST=0.0.0.0 FAUXQS_LOGGER=false
USER nobody
EXPOSE 4566
CMD ["fauxqs"]
