import { Command } from 'commander'
import { formatHostPort, parseDuration, parseLimit, parseReverseRule, parseRule } from '../../config/index.ts'
import { Server, type TunnelEvent } from '../../server/index.ts'
import { AuditLog } from '../audit.ts'
import { changedOptions, configurable, optionsWith, readConfigFile } from '../config-file.ts'
import type { Finish } from '../exit-codes.ts'
import { fitHelp } from '../help.ts'
import { Reload, type Reloadable } from '../reload.ts'
import { readText } from '../secrets.ts'
import { readCredentials } from '../serve/credentials.ts'
import { announce, EventLog } from '../serve/log.ts'
import { Metrics } from '../serve/metrics.ts'
import { SERVE_OPTIONS, type ServeFlags } from '../serve/options.ts'
import {
  parseListen,
  parsePrefix,
  readAcme,
  readCertificates,
  readSite,
  readTls,
  serverOptions,
} from '../serve/settings.ts'
import { serverState } from '../state.ts'
import { StatusSocket } from '../status-socket.ts'
import { VERSION } from '../version.ts'
import { onSignals, reportFor } from '../world.ts'

export function serveCommand(finish: Finish): Command {
  const command = new Command('serve').description('accept WebSockets and connect them to TCP targets')
  for (const option of SERVE_OPTIONS) command.addOption(option())
  return fitHelp(command, [
    '--listen',
    '--tls-cert',
    '--tls-key',
    '--token-file',
    '--allow',
    '--allow-reverse',
    '--config',
  ])
    .addHelpText(
      'after',
      '\nExamples:\n  sluice serve --allow db.corp:5432\n  sluice serve --listen :443 --tls-cert c.pem --tls-key k.pem --token-file who',
    )
    .action(async (flags: ServeFlags, self: Command) => finish(await runServe(flags, self)))
}

async function runServe(flags: ServeFlags, command: Command): Promise<number> {
  const report = reportFor(flags)
  const listen = parseListen(flags.listen)
  const metricsAt = flags.metricsListen === undefined ? undefined : parseListen(flags.metricsListen, '--metrics-listen')
  const credentials = await readCredentials(flags, listen, report)
  const acme = readAcme(flags, report)
  const tls = await readTls(flags, listen, acme)
  const clientCa = flags.clientCa === undefined ? undefined : readText(flags.clientCa, '--client-ca')
  const site = await readSite(flags)
  const audit = flags.auditLog === undefined ? undefined : new AuditLog(flags.auditLog)
  const metrics = metricsAt === undefined ? undefined : await Metrics.create(VERSION)
  const log = new EventLog(report)
  const onEvent = (event: TunnelEvent) => {
    log.take(event)
    audit?.write(event)
    metrics?.count(event)
  }
  const server = new Server(
    serverOptions(flags, { listen, auth: credentials.auth, tls, clientCa, ...(site && { site }), onEvent }),
  )
  const stop = onSignals()
  let status: StatusSocket | undefined
  let reload: Reload | undefined
  let expiry: NodeJS.Timeout | undefined
  try {
    const bound = await server.listen()
    if (metrics !== undefined && metricsAt !== undefined) {
      const at = await metrics.listen(metricsAt, server.tunnel)
      report.say(`metrics on http://${formatHostPort(at)}/metrics`)
    }
    await acme?.listen()
    acme?.start(server)
    announce(report, bound, parsePrefix(flags.prefix ?? ''), tls, credentials.made)
    status = new StatusSocket(() => serverState(bound, server.tunnel))
    status.open()
    const things = [...credentials.reloadables(server), ...certificates(flags, server)]
    reload = new Reload([...things, ...configuration(flags, server, command)], report)
    stop.onHangUp(() => {
      reload?.now()
      audit?.reopen()
    })
    // A token that expires ends what it let in.
    expiry = setInterval(() => credentials.auth.expiring && server.tunnel.recheck(), 1_000)
    await stop.promise
    const { connections } = server.tunnel
    if (connections > 0)
      report.say(`stopping: ${connections} connection${connections === 1 ? '' : 's'} may finish within ${flags.grace}`)
    await Promise.race([server.close(parseDuration(flags.grace, '--grace')), stop.again])
    return stop.exitCode
  } finally {
    clearInterval(expiry)
    reload?.close()
    status?.close()
    log.flush()
    metrics?.close()
    acme?.close()
    audit?.close()
    stop.release()
  }
}

/** The certificates are read again when their files change, or at SIGHUP. */
function certificates(flags: ServeFlags, server: Server): Reloadable[] {
  const files = [...(flags.tlsCert ?? []), ...(flags.tlsKey ?? [])]
  if (files.length === 0) return []
  const apply = () => {
    server.renewCertificate(readCertificates(flags))
    return ''
  }
  return [{ what: 'certificate', files, apply }]
}

/** The rules and limits of the configuration file; what else it says holds from the next start on. */
function configuration({ config }: ServeFlags, server: Server, command: Command): Reloadable[] {
  if (config === undefined) return []
  const apply = () => {
    const section = readConfigFile(config, configurable(command)).get(command.name())?.[0] ?? {}
    const now = optionsWith(command, section) as unknown as ServeFlags
    server.tunnel.replaceRules({
      allow: (now.allow ?? []).map(parseRule),
      allowReverse: (now.allowReverse ?? []).map(parseReverseRule),
      quotas: (now.limit ?? []).map(parseLimit),
    })
    const ended = server.tunnel.recheck()
    const later = changedOptions(command, command.opts(), { ...now }).filter(
      (name) => !['allow', 'allow-reverse', 'limit'].includes(name),
    )
    const restart = later.length === 0 ? '' : `; only a restart changes ${later.join(', ')}`
    return `: its rules hold${ended === 0 ? '' : `, ${ended} ended that are not allowed any more`}${restart}`
  }
  return [{ what: 'configuration file', files: [config], apply }]
}
