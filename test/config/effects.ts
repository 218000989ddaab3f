/**
 * The test that shows what each key does, and not only that it is read: `file below test/: name of the test`, `…` is what
 * the test puts in.
 */
export const EFFECTS: Readonly<Record<string, string>> = {
  "log-level": "cli/logging.test.ts: log-level and log-format of a file are how a role writes its log",
  "log-format": "cli/logging.test.ts: log-level and log-format of a file are how a role writes its log",
  "client.status-addr": "cli/using.test.ts: status-addr tells whoever asks there how it is",
  "server.status-addr": "cli/serving.test.ts: status-addr tells whoever asks there how it is",
  "control.status-addr": "cli/serving.test.ts: status-addr tells whoever asks there how it is",
  "relay.status-addr": "cli/serving.test.ts: status-addr tells whoever asks there how it is",
  "client.token": "cli/serving.test.ts: tokens let in who shows one of them, and nobody else",
  "client.token-file": "cli/serving.test.ts: tokens-file lets in who shows a token of it, and nobody else",
  "client.metadata": "cli/using.test.ts: metadata is told to the server",
  "client.server":
    "cli/firstContact.test.ts: two commands with the link of a server are a tunnel, the link stays the same, and no log has its secrets",
  "client.server-pin": "cli/using.test.ts: server-pin is the certificate of the server, whoever vouches for it",
  "client.server-addr":
    "cli/serving.test.ts: addr, cert-file and key-file of an ingress for clients say where it is, and who it is",
  "client.server-cas-file":
    "cli/serving.test.ts: addr, cert-file and key-file of an ingress for clients say where it is, and who it is",
  "client.server-name": "cli/using.test.ts: server-name is the name on the certificate of the server",
  "client.direct-addr": "cli/using.test.ts: direct-addr is where others reach it",
  "client.nat-pmp":
    "lab/direct.test.ts: meet where the router of one forwards its port, each behind a NAT that no hole is punched in",
  "client.direct-stateless-reset-key":
    "cli/using.test.ts: direct-stateless-reset-key, or the file of it, is what the tokens of its resets follow from",
  "client.direct-stateless-reset-key-file":
    "cli/using.test.ts: direct-stateless-reset-key, or the file of it, is what the tokens of its resets follow from",
  "client.proxy": "cli/using.test.ts: proxy carries what goes to the server over TCP",
  "client.transport": "cli/using.test.ts: transport is what it dials with: %s",
  "client.handshake-idle-timeout":
    "cli/using.test.ts: handshake-idle-timeout is how long it waits for a server that says nothing",
  "client.relay-encryptions":
    "cli/using.test.ts: relay-encryptions are those of its endpoints that have none of their own",
  "client.tuning.congestion-control":
    "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "client.tuning.receive-buffer": "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "client.tuning.send-buffer": "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "client.tuning.idle-timeout": "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "server.tuning.congestion-control":
    "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "server.tuning.receive-buffer": "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "server.tuning.send-buffer": "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "server.tuning.idle-timeout": "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "control.tuning.congestion-control":
    "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "control.tuning.receive-buffer": "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "control.tuning.send-buffer": "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "control.tuning.idle-timeout": "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "relay.tuning.congestion-control": "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "relay.tuning.receive-buffer": "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "relay.tuning.send-buffer": "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "relay.tuning.idle-timeout": "cli/tuning.test.ts: of a … is what its sockets and its connections are made with",
  "client.destinations.*.route": "cli/using.test.ts: route keeps it to one kind of paths",
  "client.destinations.*.transport": "cli/using.test.ts: transport is what carries its links",
  "client.destinations.*.relay-encryptions":
    "cli/using.test.ts: relay-encryptions is how its relayed streams are encrypted",
  "client.destinations.*.url":
    "cli/endpoints.test.ts: carry every kind of source to every kind of destination, directly and through a relay",
  "client.sources.*.route": "cli/using.test.ts: route keeps it to one kind of paths",
  "client.sources.*.transport": "cli/using.test.ts: transport is what carries its links",
  "client.sources.*.relay-encryptions": "cli/using.test.ts: relay-encryptions is how its relayed streams are encrypted",
  "client.sources.*.url":
    "cli/endpoints.test.ts: carry every kind of source to every kind of destination, directly and through a relay",
  "client.destinations.*.dial-timeout": "cli/using.test.ts: dial-timeout is how long its service may take",
  "client.destinations.*.cas-file":
    "cli/endpoints.test.ts: carry every kind of source to every kind of destination, directly and through a relay",
  "client.destinations.*.cert-file": "cli/using.test.ts: cert-file and key-file are who it is to its service",
  "client.destinations.*.key-file": "cli/using.test.ts: cert-file and key-file are who it is to its service",
  "client.destinations.*.proxy-proto-version":
    "cli/endpoints.test.ts: carry every kind of source to every kind of destination, directly and through a relay",
  "client.destinations.*.health-disable": "cli/using.test.ts: health-disable keeps to itself that its service is down",
  "client.destinations.*.early-data-disable":
    "cli/using.test.ts: early-data-disable makes sources wait for the service before they send anything",
  "client.destinations.*.preserve-host":
    "cli/using.test.ts: preserve-host tells the service which host its user has asked for, if both ends have it",
  "client.destinations.*.listings-disable":
    "cli/using.test.ts: listings-disable and dot-files say what of a folder is shown",
  "client.destinations.*.dot-files": "cli/using.test.ts: listings-disable and dot-files say what of a folder is shown",
  "client.sources.*.dial-timeout": "cli/using.test.ts: dial-timeout is how long its users wait for a destination",
  "client.sources.*.cas-file":
    "cli/endpoints.test.ts: carry every kind of source to every kind of destination, directly and through a relay",
  "client.sources.*.cert-file":
    "cli/endpoints.test.ts: carry every kind of source to every kind of destination, directly and through a relay",
  "client.sources.*.key-file":
    "cli/endpoints.test.ts: carry every kind of source to every kind of destination, directly and through a relay",
  "client.sources.*.preserve-host":
    "cli/using.test.ts: preserve-host tells the service which host its user has asked for, if both ends have it",
  "client.sources.*.lb-policy": "cli/using.test.ts: lb-policy says which of several destinations is asked first",
  "client.sources.*.lb-retry": "cli/using.test.ts: lb-retry says whether another one is asked when one refuses",
  "client.sources.*.lb-retry-max": "cli/using.test.ts: lb-retry-max says how many are asked in all",
  "server.tokens": "cli/serving.test.ts: tokens let in who shows one of them, and nobody else",
  "server.tokens-file": "cli/serving.test.ts: tokens-file lets in who shows a token of it, and nobody else",
  "server.token-restriction.allow-cidrs": "cli/serving.test.ts: … of a token keeps out who comes from elsewhere",
  "server.ingress.allow-cidrs": "cli/serving.test.ts: … of an ingress for clients keeps out who comes from elsewhere",
  "server.token-restriction.deny-cidrs": "cli/serving.test.ts: … of a token keeps out who comes from elsewhere",
  "server.ingress.deny-cidrs": "cli/serving.test.ts: … of an ingress for clients keeps out who comes from elsewhere",
  "server.token-restriction.name-matches":
    "cli/serving.test.ts: name-matches and role-matches of a token say what it is for",
  "server.token-restriction.role-matches":
    "cli/serving.test.ts: name-matches and role-matches of a token say what it is for",
  "server.ingress.addr":
    "cli/serving.test.ts: addr, cert-file and key-file of an ingress for clients say where it is, and who it is",
  "server.ingress.cert-file":
    "cli/serving.test.ts: addr, cert-file and key-file of an ingress for clients say where it is, and who it is",
  "server.ingress.key-file":
    "cli/serving.test.ts: addr, cert-file and key-file of an ingress for clients say where it is, and who it is",
  "server.endpoint-expiry-disable":
    "cli/serving.test.ts: endpoint-expiry-disable takes back at once what a lost client has announced",
  "server.endpoint-expiry-timeout":
    "cli/serving.test.ts: endpoint-expiry-timeout says for how long a lost client is still told of",
  "server.transport": "cli/serving.test.ts: transport says what it listens on",
  "server.store-dir": "cli/serving.test.ts: store-dir keeps across a restart who its clients are",
  "server.relay-ingress.allow-cidrs":
    "cli/serving.test.ts: … of an ingress of the relay keeps out who comes from elsewhere",
  "server.relay-ingress.deny-cidrs":
    "cli/serving.test.ts: … of an ingress of the relay keeps out who comes from elsewhere",
  "server.relay-ingress.addr":
    "cli/serving.test.ts: addr and hostports of an ingress of the relay say where it is, and where clients look for it",
  "server.relay-ingress.hostports":
    "cli/serving.test.ts: addr and hostports of an ingress of the relay say where it is, and where clients look for it",
  "server.relay-limits.streams-per-link":
    "cli/serving.test.ts: streams-per-link is how many users there may be at once",
  "server.relay-limits.links-per-address":
    "cli/serving.test.ts: links-per-address is how many links one address may have",
  "server.relay-limits.bytes-per-second-per-link": "cli/serving.test.ts: bytes-per-second-per-link slows them down",
  "control.clients-tokens": "cli/serving.test.ts: tokens let in who shows one of them, and nobody else",
  "control.clients-tokens-file": "cli/serving.test.ts: tokens-file lets in who shows a token of it, and nobody else",
  "control.clients-token-restriction.allow-cidrs":
    "cli/serving.test.ts: … of a token keeps out who comes from elsewhere",
  "control.clients-ingress.allow-cidrs":
    "cli/serving.test.ts: … of an ingress for clients keeps out who comes from elsewhere",
  "control.clients-token-restriction.deny-cidrs":
    "cli/serving.test.ts: … of a token keeps out who comes from elsewhere",
  "control.clients-ingress.deny-cidrs":
    "cli/serving.test.ts: … of an ingress for clients keeps out who comes from elsewhere",
  "control.clients-token-restriction.name-matches":
    "cli/serving.test.ts: name-matches and role-matches of a token say what it is for",
  "control.clients-token-restriction.role-matches":
    "cli/serving.test.ts: name-matches and role-matches of a token say what it is for",
  "control.clients-ingress.addr":
    "cli/serving.test.ts: addr, cert-file and key-file of an ingress for clients say where it is, and who it is",
  "control.clients-ingress.cert-file":
    "cli/serving.test.ts: addr, cert-file and key-file of an ingress for clients say where it is, and who it is",
  "control.clients-ingress.key-file":
    "cli/serving.test.ts: addr, cert-file and key-file of an ingress for clients say where it is, and who it is",
  "control.endpoint-expiry-disable":
    "cli/serving.test.ts: endpoint-expiry-disable takes back at once what a lost client has announced",
  "control.endpoint-expiry-timeout":
    "cli/serving.test.ts: endpoint-expiry-timeout says for how long a lost client is still told of",
  "control.transport": "cli/serving.test.ts: transport says what it listens on",
  "control.store-dir": "cli/serving.test.ts: store-dir keeps across a restart who its clients are",
  "control.relays-tokens": "cli/serving.test.ts: relays-tokens let in the relay that shows one of them, and no other",
  "control.relays-tokens-file":
    "cli/serving.test.ts: relays-tokens-file lets in the relay that shows a token of it, and no other",
  "control.relays-token-restriction.allow-cidrs":
    "cli/serving.test.ts: … of a relay's token keeps out who comes from elsewhere",
  "control.relays-ingress.allow-cidrs":
    "cli/serving.test.ts: … of an ingress for relays keeps out who comes from elsewhere",
  "control.relays-token-restriction.deny-cidrs":
    "cli/serving.test.ts: … of a relay's token keeps out who comes from elsewhere",
  "control.relays-ingress.deny-cidrs":
    "cli/serving.test.ts: … of an ingress for relays keeps out who comes from elsewhere",
  "control.relays-ingress.addr":
    "cli/serving.test.ts: addr, cert-file and key-file of an ingress for relays say where it is, and who it is",
  "control.relays-ingress.cert-file":
    "cli/serving.test.ts: addr, cert-file and key-file of an ingress for relays say where it is, and who it is",
  "control.relays-ingress.key-file":
    "cli/serving.test.ts: addr, cert-file and key-file of an ingress for relays say where it is, and who it is",
  "relay.token": "cli/serving.test.ts: relays-tokens let in the relay that shows one of them, and no other",
  "relay.token-file":
    "cli/serving.test.ts: relays-tokens-file lets in the relay that shows a token of it, and no other",
  "relay.metadata": "cli/serving.test.ts: metadata is told to control",
  "relay.control-addr":
    "cli/serving.test.ts: addr, cert-file and key-file of an ingress for relays say where it is, and who it is",
  "relay.control-cas-file":
    "cli/serving.test.ts: addr, cert-file and key-file of an ingress for relays say where it is, and who it is",
  "relay.control-name": "cli/serving.test.ts: control-name is the name on the certificate of control",
  "relay.proxy": "cli/serving.test.ts: proxy carries what goes to control over TCP",
  "relay.transport": "cli/serving.test.ts: transport says what it listens on, and dials control with",
  "relay.handshake-idle-timeout":
    "cli/serving.test.ts: handshake-idle-timeout is how long it waits for a control server that says nothing",
  "relay.store-dir": "cli/serving.test.ts: store-dir keeps who it is across a restart",
  "relay.ingress.allow-cidrs": "cli/serving.test.ts: … of an ingress of the relay keeps out who comes from elsewhere",
  "relay.ingress.deny-cidrs": "cli/serving.test.ts: … of an ingress of the relay keeps out who comes from elsewhere",
  "relay.ingress.addr":
    "cli/serving.test.ts: addr and hostports of an ingress of the relay say where it is, and where clients look for it",
  "relay.ingress.hostports":
    "cli/serving.test.ts: addr and hostports of an ingress of the relay say where it is, and where clients look for it",
  "relay.limits.streams-per-link": "cli/serving.test.ts: streams-per-link is how many users there may be at once",
  "relay.limits.links-per-address": "cli/serving.test.ts: links-per-address is how many links one address may have",
  "relay.limits.bytes-per-second-per-link": "cli/serving.test.ts: bytes-per-second-per-link slows them down"
}
