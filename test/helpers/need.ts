import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

/** The project's root folder. */
export const ROOT: string = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))))

/** The Python of the project's own environment, which `tools/provision.mjs` makes. */
export const PYTHON: string = join(ROOT, '.tools', 'python', 'bin', 'python')

/** Where a program is, daemons' folders included. */
export function which(program: string): string | undefined {
  if (program.startsWith('/')) return existsSync(program) ? program : undefined
  const folders = `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`.split(':')
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, program))
    .find((path) => existsSync(path))
}

/**
 * The paths of these programs; or the test is skipped by name with the reason. With `CI=true` a missing one is a failure.
 */
export function need(test: TestContext, ...programs: string[]): string[] | undefined {
  const found = programs.map(which)
  const missing = programs.filter((_, index) => found[index] === undefined)
  if (missing.length === 0) return found as string[]
  cannotRun(test, `${missing.join(', ')} not here (tools/provision.mjs installs it where it may)`)
  return undefined
}

/** As {@link need}, for tests that only root may run. */
export function needRoot(test: TestContext): boolean {
  if (process.getuid?.() === 0) return true
  cannotRun(test, 'only root may make the network namespaces, or start the daemons, that this test needs')
  return false
}

/** The one place where a test is skipped: never silently, and not at all where everything has to be there. */
function cannotRun(test: TestContext, why: string): void {
  if (process.env.CI === 'true') throw new Error(why)
  test.skip(why)
}
