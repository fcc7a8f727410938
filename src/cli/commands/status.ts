import { Command } from 'commander'
import { ExitCode, type Finish } from '../exit-codes.ts'
import { escapeControl } from '../report.ts'
import { type ProcessState, stateLines } from '../state.ts'
import { askAll } from '../status-socket.ts'

export function statusCommand(finish: Finish): Command {
  return new Command('status')
    .description('what runs here: sessions, their WebSockets and streams, memory, what was learned')
    .option('--json', 'the same as JSON: an array with one object for each server that runs here or is used from here')
    .addHelpText('after', '\nExample:\n  sluice status --json | jq .[].sessions[].carriers[].roundTrip')
    .action(async (flags: { json?: boolean }) => finish(await runStatus(flags.json ?? false)))
}

async function runStatus(json: boolean): Promise<number> {
  const states = ((await askAll()) as (ProcessState | ProcessState[])[]).flat()
  if (json) {
    process.stdout.write(`${JSON.stringify(states, undefined, 2)}\n`)
    return ExitCode.ok
  }
  if (states.length === 0) process.stderr.write('sluice: nothing of sluice runs here for this user\n')
  for (const state of states) for (const line of stateLines(state)) process.stdout.write(`${escapeControl(line)}\n`)
  return ExitCode.ok
}
