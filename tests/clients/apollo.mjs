import { ApolloClient, InMemoryCache, gql } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";

import { wsClient } from "./graphql-ws.mjs";

export function connect(url, token) {
  const client = new ApolloClient({
    link: new GraphQLWsLink(wsClient(url, token)),
    cache: new InMemoryCache(),
  });
  return {
    ask: (text) =>
      text.startsWith("mutation")
        ? client.mutate({ mutation: gql(text) })
        : client.query({ query: gql(text) }),
    follow: (text, next, done) => {
      const observer = { next, error: done, complete: done };
      const subscription = client.subscribe({ query: gql(text) }).subscribe(observer);
      return () => subscription.unsubscribe();
    },
  };
}
