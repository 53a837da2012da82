# Builds what `make image` tags. The result holds the static binary and the certificates that the web trusts: no shell, no
# package manager, nothing to update but Muster itself.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
# Modules first: they change less often than the code.
COPY go.mod go.sum ./
RUN go mod download
COPY cmd/muster cmd/muster
COPY clusters clusters
COPY config/schema config/schema
COPY controllers controllers
COPY gitsync gitsync
ARG VERSION=devel
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.release=$VERSION" -o /muster ./cmd/muster

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /muster /muster
# By number, so that Kubernetes can see that it isn't root.
USER 65532:65532
ENTRYPOINT ["/muster"]
