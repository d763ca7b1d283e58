import { createClient } from "graphql-ws";
import WebSocket from "ws";

import { subscribing } from "./subscribing.mjs";

globalThis.WebSocket ??= WebSocket; // Node has it by itself from 22 on, browsers always

export function wsClient(url, token) {
  return createClient({
    url: url.replace("http", "ws"),
    connectionParams: { authorization: `Bearer ${token}` },
    lazyCloseTimeout: 60_000, // one connection for all steps
    retryAttempts: Infinity,
    on: {
      closed: (event) => console.log(JSON.stringify({ step: "closed", code: event.code })),
    },
  });
}

export function connect(url, token) {
  return subscribing(wsClient(url, token));
}
