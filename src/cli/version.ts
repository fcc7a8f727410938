import { createRequire } from 'node:module'

/** The version of the package, for `--version` and the server's page. */
export const VERSION: string = (createRequire(import.meta.url)('../../package.json') as { version: string }).version
