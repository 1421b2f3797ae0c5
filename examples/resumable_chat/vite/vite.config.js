export default {
  server: {
    proxy: { "/api": process.env.SSEPROXY_URL ?? "http://127.0.0.1:8080" }, // sseproxy, in front of the service
  },
};
