/** Where a configuration means something else than at upstream: the number of the recorded case, and why. */

/** Where we refuse what upstream takes. */
export const STRICTER: ReadonlyMap<number, string> = new Map([
  [8, "a second ingress without address is refused, where upstream gives it a port that nobody knows"],
  [11, "a second relay ingress of a server without address is refused"],
  [15, "control without any ingress is refused, where upstream starts and nobody can connect"],
  [20, "a second ingress of a relay without address is refused"],
  [67, "control without any ingress is refused, whatever else it has"],
  [137, "an empty endpoint name is refused"],
  [195, "an encryption that is there twice is refused"],
  [207, "a query behind a tcp URL is refused, where upstream ignores it"],
  [208, "a user in a tcp URL is refused, where upstream ignores it"],
  [209, "a port above 65535 is refused when the configuration is read, not when it is dialed"],
  [331, "control without any ingress is refused, whatever else it has"],
  [240, "a negative dial timeout is refused"],
  [244, "a key without its certificate is refused"],
  [245, "files for TLS are refused where there is none"],
  [278, "files for TLS are refused where there is none"],
  [288, "a maximum without a retry that has one is refused"],
  [294, "a maximum without a retry that has one is refused"],
  [295, "a negative maximum is refused"],
  [308, "a token that is there twice is refused, where upstream takes the rules of the last one"],
  [330, "control without any ingress is refused, whatever else it has"],
  [89, "control without any ingress is refused, whatever else it has"],
  [206, "the host of a folder is refused, where upstream ignores it"],
  [
    143,
    "`connet check` looks at everything that a start looks at, certificates too; upstream at the spelling, and at how to log"
  ]
])

const destinationTo = (target: Record<string, unknown>) => ({
  destinations: {
    d: { route: "any", proxy: "none", relay_encryptions: ["tls", "dhxcp"], dial_timeout_ns: 0, target }
  }
})

/** Where we make something else of it. */
export const OTHERWISE: ReadonlyMap<number, { because: string; effective: Record<string, unknown> }> = new Map([
  [23, { because: "blank lines of a token file are ignored, the first one too", effective: { token: "second" } }],
  [160, { because: "a long token is taken", effective: { token: "x".repeat(60_000) } }],
  [
    197,
    {
      because: "a destination without host is on this machine",
      effective: destinationTo({ scheme: "tcp", host_port: "localhost:22" })
    }
  ],
  [
    306,
    {
      because: "tokens of a file are trimmed, and blank lines are no tokens",
      effective: {
        tokens: ["one", "two", "three"].map((token) => ({ token, allow: [], deny: [], name_matches: "", role: "" }))
      }
    }
  ],
  [
    211,
    {
      because: "a folder without a path is the one that connet was started in",
      effective: destinationTo({ scheme: "file", directory: "." })
    }
  ]
])

/** Where another key is wrong. */
export const OTHER_KEYS: ReadonlyMap<number, { because: string; key: string }> = new Map([
  [
    88,
    {
      because:
        "`--clients-cert-file` and `--relays-cert-file` win over `--cert-file` of control, as upstream's help says; upstream does the reverse",
      key: "control.relays-ingress[0].cert-file"
    }
  ]
])

/** What we take where upstream refuses it. */
export const MORE: ReadonlyMap<number, string> = new Map([
  [5, "a server without a certificate makes one for itself"],
  [298, "an ingress without a certificate has the one that the server makes for itself"],
  [222, "a Unix socket is a service, too"],
  [311, "a blank line of a tokens file is no token, so that it needs no restriction"]
])
