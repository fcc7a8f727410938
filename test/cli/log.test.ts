import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Report } from '#src/cli/report.js'
import { EventLog } from '#src/cli/serve/log.js'
import { until } from '../helpers/net.js'

describe('the log of a server', () => {
  it('tells of ten refusals a second, and of the others how many they were', async () => {
    let said = ''
    const log = new EventLog(new Report('normal', 'text', undefined, (text) => (said += text)))
    const lines = () => said.split('\n').slice(0, -1)
    for (let i = 0; i < 1_000; i++) log.take({ type: 'refused', from: `10.0.0.1:${i}`, status: 401, message: 'no' })
    assert.equal(lines().length, 10)
    assert.equal(lines()[9], 'sluice: 10.0.0.1:9: refused with 401: no')
    await until(() => lines().length === 11, 'the number of the others')
    assert.equal(lines()[10], 'sluice: 990 more requests were refused within a second')
    log.take({ type: 'refused', from: '10.0.0.1:1', status: 429, message: 'no' })
    assert.equal(lines()[11], 'sluice: 10.0.0.1:1: refused with 429: no')
    log.flush()
    assert.equal(lines().length, 12)
  })
})
