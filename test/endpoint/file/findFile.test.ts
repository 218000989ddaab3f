import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { findFile, namesOf } from "../../../src/endpoint/file/findFile.ts"

let base = ""
let root = ""

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "connet-files-"))
  root = join(base, "root")
  await mkdir(join(root, "sub", ".hidden"), { recursive: true })
  await writeFile(join(base, "secret"), "secret")
  await writeFile(join(base, "root-neighbour"), "secret")
  await writeFile(join(root, "a b%2e.txt"), "a")
  await writeFile(join(root, ".env"), "secret")
  await writeFile(join(root, "sub", ".hidden", "x"), "secret")
  await symlink("../secret", join(root, "out"))
  await symlink(base, join(root, "outside"))
  await symlink("a b%2e.txt", join(root, "in"))
  await symlink(".env", join(root, "env"))
  await symlink("loop", join(root, "loop"))
})

afterAll(() => rm(base, { recursive: true }))

describe("a file of a folder", () => {
  it("is found by its encoded name, or by a link within the folder", async () => {
    for (const path of ["/a%20b%252e.txt", "//a%20b%252e.txt", "/in"]) {
      assert.deepInclude(await findFile(root, path, false), { _tag: "file", path: "a b%2e.txt" }, path)
    }
    assert.deepInclude(await findFile(root, "/sub/", false), { _tag: "folder", path: "sub" })
    assert.deepStrictEqual(await findFile(root, "//sub", false), { _tag: "moved", location: "/sub/" })
  })

  it.each([
    "/../secret",
    "/sub/../../secret",
    "/%2e%2e/secret",
    "/..%2fsecret",
    "/%252e%252e/secret",
    "/..%252fsecret",
    "/..%5csecret",
    "/..\\secret",
    "/%c0%ae%c0%ae/secret",
    "/in%00",
    "/./in",
    "/out",
    "/outside/secret",
    "/outside/root-neighbour",
    "/../root-neighbour",
    "/loop",
    "/.env",
    "/%2eenv",
    "/env",
    "/sub/.hidden/x",
    "/in/",
    "/in/x",
    "/%",
    `/${"a".repeat(5_000)}`
  ])("is not what %s asks for", async (path) => {
    assert.strictEqual((await findFile(root, path, false))._tag, "refused")
  })

  it("may begin with a dot where that is asked for, and still be nowhere else", async () => {
    for (const path of ["/.env", "/env", "/sub/.hidden/x"]) {
      assert.strictEqual((await findFile(root, path, true))._tag, "file", path)
    }
    for (const path of ["/..", "/out", "/../secret"]) {
      assert.strictEqual((await findFile(root, path, true))._tag, "refused", path)
    }
  })

  it("can be all that there is", async () => {
    const file = join(root, "a b%2e.txt")
    for (const path of ["/", "/a%20b%252e.txt"]) {
      assert.deepInclude(await findFile(file, path, false), { _tag: "file", path: "a b%2e.txt" }, path)
    }
    for (const path of ["/in", "/a", "/a%20b%252e.txt/"]) {
      assert.strictEqual((await findFile(file, path, false))._tag, "refused", path)
    }
  })

  it("has no name that means something else to Windows", () => {
    for (const path of ["/nul", "/COM1.txt", "/a::$DATA", "/c:/x", "/a.", "/a%20", "/PROGRA~1"]) {
      assert.typeOf(namesOf(path, "win32"), "string", path)
      assert.typeOf(namesOf(path, "linux"), "array", path)
    }
    assert.deepStrictEqual(namesOf("/console/a.b", "win32"), ["console", "a.b"])
  })
})
