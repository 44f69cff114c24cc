# docker build -t faceinsight . && docker run --read-only --tmpfs /tmp -p 127.0.0.1:7860:7860 faceinsight
FROM debian:bookworm-slim AS build
COPY . /source
RUN sh /source/scripts/image.sh /source /image

FROM scratch
COPY --from=build /image /
WORKDIR /opt/faceinsight
USER 10001:10001
ENV PATH=/opt/faceinsight/.venv/bin:/usr/bin \
    HOME=/tmp \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    PYTHONPATH=/opt/faceinsight \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FACEINSIGHT_HOME=/models \
    FACEINSIGHT_HOST=0.0.0.0 \
    FACEINSIGHT_LOG_FORMAT=json
VOLUME ["/models"]
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-m", "faceinsight.healthy"]
ENTRYPOINT ["python", "-m", "faceinsight"]
CMD ["app"]
