FROM debian:forky AS base
COPY debian.sources /etc/apt/sources.list.d/debian.sources
COPY apt.conf /etc/apt/apt.conf.d/99x
ENV DEBIAN_FRONTEND=noninteractive
RUN rm -f /etc/apt/sources.list && apt-get update -q && apt-get install -y -q --no-install-recommends busybox-static \
    && printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d

FROM base AS postgres
RUN groupadd -r postgres --gid=999 && useradd -r -g postgres --uid=999 --home-dir=/var/lib/postgresql --shell=/bin/bash postgres \
    && install --directory --owner postgres --group postgres --mode 1777 /var/lib/postgresql && mkdir /docker-entrypoint-initdb.d
RUN apt-get install -y -q --no-install-recommends postgresql-common locales && sed -ri 's/#(create_main_cluster) .*$/\1 = false/' /etc/postgresql-common/createcluster.conf \
    && echo 'en_US.UTF-8 UTF-8' >> /etc/locale.gen && locale-gen && apt-get install -y -q --no-install-recommends postgresql-18 \
    && chown postgres:postgres /var/lib/postgresql && chmod 1777 /var/lib/postgresql && rm -rf /var/lib/postgresql/*
RUN install --directory --owner postgres --group postgres --mode 3777 /var/run/postgresql
ENV LANG=en_US.utf8 PG_MAJOR=18 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/18/bin PGDATA=/var/lib/postgresql/18/docker
VOLUME /var/lib/postgresql
COPY postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
# Barman is built on this image with packages of Debian 12, and by pip.
COPY bookworm.sources /etc/apt/sources.list.d/
RUN printf 'Package: file libmagic* gnupg* gpg* dirmngr python3* libpython3* rsync\nPin: release n=bookworm\nPin-Priority: 1001\n' >/etc/apt/preferences.d/bookworm
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY pip.conf /etc/pip.conf
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]

FROM base AS redis
RUN groupadd -r -g 999 redis && useradd -r -g redis -u 999 redis && apt-get install -y -q --no-install-recommends redis-server redis-tools && install -d -o redis -g redis /data
VOLUME /data
WORKDIR /data
EXPOSE 6379
CMD ["redis-server"]

FROM base AS nginx
RUN groupadd -g 101 nginx && useradd -r -u 101 -g 101 -d /nonexistent -s /sbin/nologin nginx || (getent passwd 101; getent group 101; exit 1)
RUN apt-get install -y -q --no-install-recommends nginx && install -d -o 101 -g 0 -m 0775 /var/cache/nginx && install -d /bb && /bin/busybox --install -s /bb && ln -sf /bin/busybox /bin/sh
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/bb:/usr/bin:/sbin:/bin
USER 101
CMD ["nginx", "-g", "daemon off;"]

# The Prometheus project's images: busybox and a binary, user nobody
FROM base AS prom
RUN apt-get install -y -q --no-install-recommends prometheus prometheus-alertmanager prometheus-postgres-exporter prometheus-redis-exporter prometheus-node-exporter prometheus-pgbouncer-exporter prometheus-nginx-exporter prometheus-blackbox-exporter \
    && install -d /bb && /bin/busybox --install -s /bb && ln -sf /bin/busybox /bin/sh
ENV PATH=/bb:/bin
RUN install -d -o 65534 -g 65534 /prometheus /alertmanager && rm -rf /etc/prometheus && install -d -o 65534 -g 65534 /etc/prometheus

FROM prom AS prometheus
USER 65534
WORKDIR /prometheus
VOLUME /prometheus
EXPOSE 9090
ENTRYPOINT ["/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]

FROM prom AS alertmanager
RUN ln -sf /bin/prometheus-alertmanager /bin/alertmanager
USER 65534
WORKDIR /alertmanager
VOLUME /alertmanager
EXPOSE 9093
ENTRYPOINT ["/bin/alertmanager"]

FROM prom AS postgres-exporter
USER 65534
ENTRYPOINT ["/bin/prometheus-postgres-exporter"]

FROM prom AS redis-exporter
USER 59000:59000
ENTRYPOINT ["/bin/prometheus-redis-exporter"]

FROM prom AS pgbouncer-exporter
RUN ln -sf /bin/prometheus-pgbouncer-exporter /bin/pgbouncer_exporter
USER 65534
ENTRYPOINT ["/bin/pgbouncer_exporter"]

FROM prom AS nginx-exporter
USER 1001:1001
ENTRYPOINT ["/bin/prometheus-nginx-exporter"]

FROM prom AS node-exporter
USER 65534
ENTRYPOINT ["/bin/prometheus-node-exporter"]

FROM prom AS blackbox-exporter
USER 65534
ENTRYPOINT ["/bin/prometheus-blackbox-exporter"]
