import { createClient } from "graphql-sse";

import { subscribing } from "./subscribing.mjs";

export function connect(url, token) {
  const client = createClient({
    url,
    headers: { authorization: `Bearer ${token}` },
    retryAttempts: Infinity,
    fetchFn: async (...request) => {
      try {
        return await fetch(...request);
      } catch (error) {
        console.log(JSON.stringify({ step: "refused" }));
        throw error;
      }
    },
  });
  return subscribing(client);
}
