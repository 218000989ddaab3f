import { createHash } from "node:crypto"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Result } from "effect"
import { tokenRules } from "../../src/config/TokenRules.ts"
import { folder, golden } from "./golden.ts"

const SECRET = "secret-token"
const hash = createHash("sha256").update(SECRET).digest("hex")

const settings = {
  of: "clients",
  place: { key: "server.tokens", origin: () => "a.toml" },
  filePlace: { key: "server.tokens-file", origin: () => "a.toml" },
  restrictionPlace: { key: "server.token-restriction", origin: () => "b.toml" },
  file: "",
  literals: [],
  restrictions: []
} as const

type Settings = Parameters<typeof tokenRules>[0]

/** The rules of a file with this text. */
const inFile = Effect.fnUntraced(function* (text: string, others: Partial<Settings> = {}) {
  const file = join(yield* folder({ tokens: text }), "tokens")
  return yield* tokenRules({ ...settings, file, ...others })
})

const listed = (literals: ReadonlyArray<string>, others: Partial<Settings> = {}) =>
  tokenRules({ ...settings, literals, ...others })

/** What is said to be wrong, a line each, without the path of the file. */
const problems = <A, R>(rules: Effect.Effect<A, unknown, R>) =>
  Effect.map(Effect.flip(rules), (error) =>
    (Array.isArray(error) ? error : [error]).map(({ message }) => message.replace(/^\S*\/tokens: /, ""))
  )

const texts = (rules: Effect.Success<ReturnType<typeof tokenRules>>) => rules.map(({ token }) => Redacted.value(token))

describe("the tokens of a server", () => {
  for (const { text, tokens } of golden.token_files) {
    const expected = tokens.map((token) => token.trim()).filter((token) => token !== "" && !token.startsWith("#"))
    const blank = expected.some((token) => /\s/.test(token))
    const says = blank ? "a token with a blank in it, which is refused" : JSON.stringify(expected)
    it.effect(`a file of ${JSON.stringify(text)} holds ${says}`, () =>
      Effect.gen(function* () {
        const rules = yield* Effect.result(inFile(text))
        assert.deepStrictEqual(Result.isSuccess(rules) ? texts(rules.success) : undefined, blank ? undefined : expected)
      })
    )
  }

  it.effect("may be hashes, in a file or in a list", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(texts(yield* inFile(`sha256:${hash}\nplain\n`)), [`sha256:${hash}`, "plain"])
      assert.deepStrictEqual(texts(yield* listed([` sha256:${hash} `])), [`sha256:${hash}`])
    })
  )

  it.effect("of a list may have blanks in them, and nothing behind them", () =>
    Effect.gen(function* () {
      const [rule] = yield* listed(["pass phrase name=laptop"])
      assert.deepInclude(rule, { name: undefined })
      assert.deepStrictEqual(texts([rule!]), ["pass phrase name=laptop"])
    })
  )

  for (const [what, tokens, says] of [
    ["a token that is there twice", [SECRET, "b", ` ${SECRET} `], "token 3 is the same as token 1; remove one"],
    ["a token beside its own hash", [SECRET, `sha256:${hash.toUpperCase()}`], "token 2 is the same as token 1"],
    ["an empty token", [SECRET, "  "], "token 2 is empty; remove it"],
    [
      "a hash that is cut off",
      [`sha256:${hash.slice(1)}`],
      "token 1 is not the SHA-256 hash of a token; write sha256:"
    ],
    ["a token that no first message could carry", [SECRET.repeat(6_000)], "token 1 has more than 60000 bytes"]
  ] as const) {
    it.effect(`${what} is refused, without showing it`, () =>
      Effect.gen(function* () {
        const [problem, ...others] = yield* problems(listed(tokens))
        assert.include(problem, `a.toml: server.tokens: ${says}`)
        assert.notInclude(problem, SECRET)
        assert.notInclude(problem, hash.slice(1))
        assert.deepEqual(others, [])
      })
    )
  }
})

describe("a line of a tokens file", () => {
  it.effect("may say how the token is called, when it expires, and what may be done with it", () =>
    Effect.gen(function* () {
      const [first, second, third] = yield* inFile(`
        # the laptop
        one   name=laptop\texpires=2027-01-31 allow=10.0.0.0/8,192.0.2.7 deny=10.9.0.0/16 names=^web[=-] role=source
        #two name=forgotten
        three expires=2027-01-31T12:00:00+01:00
        four`)
      const { addresses, names, ...rest } = first!
      assert.deepStrictEqual(
        { ...rest, token: Redacted.value(rest.token) },
        { token: "one", name: "laptop", expiresAt: Date.parse("2027-02-01T00:00:00Z"), role: "source" }
      )
      assert.deepStrictEqual([addresses.allow, addresses.deny], [["10.0.0.0/8", "192.0.2.7/32"], ["10.9.0.0/16"]])
      assert.deepStrictEqual(["web=1", "web-1", "web1"].map(names!.matches), [true, true, false])
      assert.strictEqual(second!.expiresAt, Date.parse("2027-01-31T11:00:00Z"))
      assert.deepStrictEqual(texts([second!, third!]), ["three", "four"])
      assert.isTrue(third!.addresses.allows("192.0.2.1"))
      assert.notInclude(JSON.stringify([first, second, third]), "one")
    })
  )

  for (const [line, says] of [
    [
      "two words",
      "line 1 has something behind the token that is none of name=…, expires=…, allow=…, deny=…, names=…, role=…; a token that has a blank in it can only stand here as its hash, sha256:…"
    ],
    ["t nam=x", "line 1 has something behind the token that is none of"],
    ["name=laptop t", "line 1 begins with an attribute; write the token first"],
    ["t name=a name=b", "line 1 has name= twice; keep one"],
    ["t role=", "line 1 has role= without a value; write one behind it, or remove it"],
    ["t role=both", 'line 1 has role=, where "both" is not a role; write "destination" or "source"'],
    ["t allow=10.0.0.0/33", 'line 1 has allow=, where "10.0.0.0/33" is not an address or a range; write one like'],
    ["t deny=10.0.0.1,", 'line 1 has deny=, where "" is not an address or a range; write one like'],
    [
      "t names=(",
      'line 1 has names=, where "(" is no regular expression (RE2): missing closing ): `(`; write one like ^web-'
    ],
    ["t name=\u0007", "line 1 has name=\u0007, which is no name; write at most 64 letters"],
    [
      "t expires=2027-02-29",
      "line 1 has expires=2027-02-29, which is no time; write a day like 2027-01-31, or a time like"
    ],
    ["t expires=2027-02-30T00:00:00Z", "line 1 has expires=2027-02-30T00:00:00Z, which is no time"],
    ["t expires=2027-01-31T25:00:00Z", "which is no time"],
    ["t expires=2027-01-31T12:00:00", "which is no time"],
    ["t expires=tomorrow", "which is no time"],
    ["t expires=1", "which is no time"]
  ] as const) {
    it.effect(`${JSON.stringify(line)} is refused, with what to write`, () =>
      Effect.gen(function* () {
        const [problem] = yield* problems(inFile(line))
        assert.include(problem, "server.tokens-file: line 1 ")
        assert.include(problem, says)
      })
    )
  }

  it.effect("never shows what may be a part of the token", () =>
    Effect.gen(function* () {
      const found = yield* problems(inFile("pass secret\nname=secret x\nx secret=1\nsha256:secret\nsecret secret"))
      for (const line of [1, 2, 3, 4, 5]) assert.include(found.join("\n"), `: line ${line} `)
      assert.notInclude(found.join("\n"), "secret")
    })
  )

  it.effect("of a relay's token says nothing of endpoints", () =>
    Effect.gen(function* () {
      const relays = { of: "relays" } as const
      const [rule] = yield* inFile("t name=r1 allow=192.0.2.1", relays)
      assert.deepInclude(rule, { name: "r1" })
      const found = yield* problems(inFile("t names=web\nu role=source", relays))
      assert.deepEqual(
        found.map((problem) => /line \d/.exec(problem)?.[0]),
        ["line 1", "line 2"]
      )
      assert.notInclude(found[0], "role=")
    })
  )

  it.effect("that is wrong does not hide what is wrong with others", () =>
    Effect.gen(function* () {
      const found = yield* problems(
        inFile("one\ntwo words\n\none name=\nthree role=x deny=y", { restrictions: [{ "role-matches": "both" }] })
      )
      assert.deepEqual(
        found.map(
          (problem) =>
            /(line \d|restriction\S*) (?:has something|is the same|has name|has \w+=|there)/.exec(problem)?.[0]
        ),
        [
          "line 2 has something",
          "line 4 is the same",
          "line 4 has name",
          "line 5 has deny=",
          "line 5 has role=",
          undefined,
          "restriction: there"
        ]
      )
      assert.include(found[5], 'b.toml: server.token-restriction[0].role-matches: "both" is not a role')
    })
  )
})

describe("restrictions at the positions of tokens", () => {
  const restrictions = [{ "name-matches": "^web" }, {}]

  it.effect("belong to the tokens there, and nothing to the others", () =>
    Effect.gen(function* () {
      const [first, second] = yield* listed(["a", "b"], { restrictions })
      assert.strictEqual(first!.names?.expression, "^web")
      assert.isUndefined(second!.names)
    })
  )

  it.effect("are added to a name and an expiry, but not to rules behind the token", () =>
    Effect.gen(function* () {
      const [first, second] = yield* inFile("a name=laptop\nb role=source", { restrictions })
      assert.deepInclude(first, { name: "laptop", role: undefined })
      assert.strictEqual(first!.names?.expression, "^web")
      assert.deepInclude(second, { role: "source", names: undefined })
      const [problem] = yield* problems(inFile("a role=source\nb", { restrictions }))
      assert.include(problem, "line 1 has rules, and so has server.token-restriction[0]; keep one of the two")
    })
  )

  it.effect("are as many as tokens, or none", () =>
    Effect.gen(function* () {
      assert.deepEqual(yield* problems(listed(["a", "b", "c"], { restrictions })), [
        "b.toml: server.token-restriction: there are 2 of them, and 3 tokens; write one for each token in the same order, or none"
      ])
    })
  )
})
