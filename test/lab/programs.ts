/** What some tests need of the machine. Where it is absent they are skipped, and the reason is printed. */
import { accessSync, constants } from "node:fs"
import { join } from "node:path"

/** Where programs are looked for: those for administrators are in no ordinary user's PATH. */
export const FOLDERS = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/sbin"]

/** Whether a program is there to be run. */
export const isInstalled = (program: string) =>
  FOLDERS.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })

/** Whether tests must be skipped for want of programs (or of root), which is then printed. */
export const lacks = (
  tests: string,
  { programs, root = false }: { programs: ReadonlyArray<string>; root?: boolean }
): boolean => {
  const reasons = programs.filter((program) => !isInstalled(program)).map((program) => `${program} is not installed`)
  if (root && process.getuid?.() !== 0) reasons.push("this is not root")
  if (reasons.length > 0) process.stdout.write(`skipped: ${tests}: ${reasons.join(", ")}\n`)
  return reasons.length > 0
}
