import { createClient } from "graphql-sse";

export function connect(url, token) {
  const client = createClient({
    url,
    headers: { authorization: `Bearer ${token}` },
    retryAttempts: 0,
  });
  return {
    ask: (query) =>
      new Promise((resolve, reject) => {
        let answer;
        const next = (result) => (answer = result);
        client.subscribe({ query }, { next, error: reject, complete: () => resolve(answer) });
      }),
    follow: (query, next, done) =>
      client.subscribe({ query }, { next, error: done, complete: done }),
  };
}
