import { createClient } from "graphql-sse";

import { subscribing } from "./subscribing.mjs";

export function connect(url, token) {
  const client = createClient({
    url,
    headers: { authorization: `Bearer ${token}` },
    retryAttempts: Infinity,
  });
  return subscribing(client);
}
