import { Config, Effect, Result } from "effect"
import { PROXY_FORMS, type Proxy, type ProxyFor, parseProxy } from "../domain/Proxy.ts"
import { NO_PROXY_VARIABLES, PROXY_VARIABLES, proxyFor } from "../domain/proxyFor.ts"

/** Which proxy TCP connections are dialed through: what the environment says, none at all, or always this one. */
export type ProxySetting = "environment" | "none" | Proxy

/** `environment`, `none`, or a proxy as `parseProxy` takes it. */
export const parseProxySetting = (text: string): Result.Result<ProxySetting, string> =>
  text === "environment" || text === "none"
    ? Result.succeed(text)
    : Result.mapError(parseProxy(text), (detail) => detail.replace(PROXY_FORMS, `${PROXY_FORMS}, or "none"`))

/** What a setting means, with the environment read once. A configured proxy is used for every target. */
export const proxyChoice = Effect.fnUntraced(function* (setting: ProxySetting) {
  const environment = setting === "environment" ? yield* proxyEnvironment : {}
  const choice: ProxyFor = (target) => {
    if (setting === "environment") return proxyFor(environment, target)
    return Result.succeed(setting === "none" ? undefined : setting)
  }
  return choice
})

/** The variables about proxies that are set. */
const proxyEnvironment = Effect.map(
  Effect.forEach([...PROXY_VARIABLES, ...NO_PROXY_VARIABLES], (name) =>
    Config.String(name).pipe(
      Effect.map((value) => [name, value.trim()] as const),
      Effect.orElseSucceed(() => [name, ""] as const)
    )
  ),
  (entries): Readonly<Record<string, string>> => Object.fromEntries(entries)
)
