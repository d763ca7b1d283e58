// Lets a page's script run on Node, and reports its steps. Chromium runs this function, too.
export function report(url, say) {
  const Native = globalThis.EventSource;
  globalThis.EventSource = class extends Native {
    constructor(address) {
      super(new URL(address, url));
      let open = false;
      this.addEventListener("open", () => (open = true));
      this.addEventListener("error", () => {
        if (!open) say({ step: "refused" });
        open = false;
      });
    }
  };
  console.log = (result) => say({ step: "update", ...result.data.priceUpdates });
}
