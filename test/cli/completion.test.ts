/** What shells complete after they have loaded what the command prints. */
import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Completions } from "effect/cli"
import { TestConsole } from "effect/testing"
import { connet as command } from "../../src/cli/main.ts"
import { folder } from "../config/golden.ts"
import { lacks } from "../lab/programs.ts"
import { connet } from "./commandLine.ts"

/** In bash, what its function puts into COMPREPLY; in fish, what it tells itself; zsh completes only for a person at a terminal. */
const SHELLS = {
  bash: {
    args: ["--norc", "-c"],
    script: `source "$0"
      complete -p connet
      complete_for() { COMP_LINE="$*"; COMP_POINT=\${#COMP_LINE}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _connet; echo "\${COMPREPLY[@]}"; }
      complete_for connet ser
      complete_for connet server --relay-h`,
    says: /-F _connet connet\nserver\n--relay-hostport\n$/
  },
  zsh: {
    args: ["-fc"],
    script: `autoload -U compinit; compinit -D -u; source "$0"; whence -w _connet; echo $_comps[connet]; whence -w _connet_server`,
    says: /^_connet: function\n_connet\n_connet_server: function\n$/
  },
  fish: {
    args: ["--no-config", "-c"],
    script: `source $argv[1]; complete -C "connet ser"; complete -C "connet server --relay-h"`,
    says: /^server\t.+\n--relay-hostport\t.+\n$/
  }
} as const

describe("completions", () => {
  for (const [shell, { args, script, says }] of Object.entries(SHELLS)) {
    it.effect.skipIf(lacks(`completions of ${shell}`, { programs: [shell] }))(`load in ${shell}, and complete`, () =>
      Effect.gen(function* () {
        assert.deepEqual(yield* connet("completion", shell), { code: 0, stderr: "" })
        const [printed] = yield* TestConsole.logLines
        const file = join(yield* folder({}), "connet")
        writeFileSync(file, `${String(printed)}\n`)
        // Both streams, so that whatever a shell complains of is seen.
        const said = execFileSync("bash", ["-c", '"$@" 2>&1', "bash", shell, ...args, script, file], {
          encoding: "utf8",
          timeout: 10_000
        })
        assert.match(said, says)
      })
    )
  }

  it("of powershell are those of the same commands", () => {
    const printed = Completions.generate("connet", "powershell", Completions.fromCommand(command))
    for (const name of ["server", "--relay-hostport"]) assert.include(printed, name)
  })
})
