import { createClient } from "graphql-ws";

import "./websocket.mjs";
import { subscribing } from "./subscribing.mjs";

export function wsClient(url, token) {
  return createClient({
    url: url.replace("http", "ws"),
    connectionParams: { authorization: `Bearer ${token}` },
    lazyCloseTimeout: 60_000, // one connection for all steps
    retryAttempts: Infinity,
    shouldRetry: () => true, // a connection that was refused, too
    on: {
      closed: (event) => console.log(JSON.stringify({ step: "closed", code: event.code })),
      error: () => console.log(JSON.stringify({ step: "refused" })),
    },
  });
}

export function connect(url, token) {
  return subscribing(wsClient(url, token));
}
