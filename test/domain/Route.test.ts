import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { allowsDirect, allowsRelay, type Route } from "../../src/domain/Route.ts"

const { routes } = JSON.parse(
  readFileSync(join(import.meta.dirname, "..", "fixtures", "restrictions.json"), "utf8")
) as { readonly routes: ReadonlyArray<{ readonly route: Route; readonly direct: boolean; readonly relay: boolean }> }

describe("a route", () => {
  it.each(routes)("$route allows what it names, and `any` both, as upstream", ({ route, direct, relay }) => {
    assert.deepEqual([allowsDirect(route), allowsRelay(route)], [direct, relay])
  })
})
