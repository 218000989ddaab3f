import { Result } from "effect"
import { assert, describe, it } from "vitest"
import { distinctAddresses } from "../../src/config/distinctAddresses.ts"

const at = (key: string, host: string, port: number) => ({ key, origin: "a.toml", address: { host, port } })
const problems = (...listening: ReadonlyArray<ReturnType<typeof at>>) => {
  const checked = distinctAddresses(listening)
  return Result.isFailure(checked) ? [checked.failure].flat().map(({ message }) => message) : []
}

describe("addresses to listen at", () => {
  it.each([
    ["", ""],
    ["", "192.0.2.7"],
    ["::", "::1"],
    ["localhost", "localhost"]
  ])("cannot be %j and %j at the same port", (one, other) => {
    assert.deepEqual(problems(at("one", one, 80), at("other", other, 80)), [
      "a.toml: other: port 80 is that of one, too; choose another one"
    ])
  })

  it("may have ports of their own, addresses of their own, or whatever is free", () => {
    assert.isEmpty(problems(at("a", "", 80), at("b", "", 81), at("c", "::1", 82), at("d", "::2", 82)))
    assert.isEmpty(problems(at("a", "", 0), at("b", "", 0)))
  })
})
