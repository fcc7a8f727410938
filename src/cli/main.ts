#!/usr/bin/env node
import { CommanderError } from 'commander'
import { ExitCode, exitCodeOf } from './exit-codes.ts'
import { buildProgram } from './program.ts'
import { type ReportFlags, reportFor } from './world.ts'

let code: number = ExitCode.ok
let flags: ReportFlags = {}
const program = buildProgram((result) => (code = result))
program.hook('preAction', (_, command) => {
  flags = command.opts()
})
try {
  await program.parseAsync(process.argv.slice(2), { from: 'user' })
} catch (error) {
  if (error instanceof CommanderError) code = error.exitCode === 0 ? ExitCode.ok : ExitCode.usage
  else {
    reportFor(flags).problem(error)
    code = exitCodeOf(error)
  }
}
process.exit(code)
