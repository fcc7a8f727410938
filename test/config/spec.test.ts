import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { formatForward, parseForwards, type SpecOption } from '#src/config/index.js'
import { SluiceError } from '#src/errors/index.js'

/** Option, what is written, and the canonical form of what it means: L or R, and for ranges one for each port. */
const READ: readonly (readonly [SpecOption, string, string])[] = [
  // ssh
  ['-L', '5432:db:5432', 'L 127.0.0.1:5432:db:5432'],
  ['-L', '0:db:5432', 'L 127.0.0.1:0:db:5432'],
  ['-L', '127.0.0.1:5432:db:5432', 'L 127.0.0.1:5432:db:5432'],
  ['-L', 'localhost:5432:db:5432', 'L localhost:5432:db:5432'],
  ['-L', '0.0.0.0:1:db:2', 'L 0.0.0.0:1:db:2'],
  ['-L', '*:1:db:2', 'L [::]:1:db:2'],
  ['-L', ':1:db:2', 'L [::]:1:db:2'],
  ['-L', '[::1]:1:[2001:db8::1]:2', 'L [::1]:1:[2001:db8::1]:2'],
  ['-L', '1:[::1]:2', 'L 127.0.0.1:1:[::1]:2'],
  ['-L', '1:[2001:DB8::A]:2', 'L 127.0.0.1:1:[2001:db8::a]:2'],
  ['-L', '8080:@web', 'L 127.0.0.1:8080:@web'],
  ['-L', '[::1]:8080:@web', 'L [::1]:8080:@web'],
  ['-L', '0.0.0.0:8080:@a.b_c-d', 'L 0.0.0.0:8080:@a.b_c-d'],
  ['-L', '5432:/run/pg/.s.PGSQL.5432', 'L 127.0.0.1:5432:/run/pg/.s.PGSQL.5432'],
  ['-L', '127.0.0.1:5432:/run/db.sock', 'L 127.0.0.1:5432:/run/db.sock'],
  ['-L', '/tmp/db.sock:db:5432', 'L /tmp/db.sock:db:5432'],
  ['-L', './db.sock:db:5432', 'L ./db.sock:db:5432'],
  ['-L', '/tmp/a.sock:/run/b.sock', 'L /tmp/a.sock:/run/b.sock'],
  ['-L', '/tmp/a.sock:@web', 'L /tmp/a.sock:@web'],
  ['-L', '/tmp/a.sock:[::1]:5432', 'L /tmp/a.sock:[::1]:5432'],
  ['-L', '/tmp/udp:db:1', 'L /tmp/udp:db:1'],
  ['-L', '1:/run/udp', 'L 127.0.0.1:1:/run/udp'],
  ['-R', '2222:localhost:22', 'R 127.0.0.1:2222:localhost:22'],
  ['-R', '0:localhost:22', 'R 127.0.0.1:0:localhost:22'],
  ['-R', '0.0.0.0:8080:localhost:80', 'R 0.0.0.0:8080:localhost:80'],
  ['-R', '*:8080:localhost:80', 'R [::]:8080:localhost:80'],
  ['-R', '[::]:8080:[::1]:80', 'R [::]:8080:[::1]:80'],
  ['-R', '8080:/run/app.sock', 'R 127.0.0.1:8080:/run/app.sock'],
  ['-R', '/run/app.sock:localhost:80', 'R /run/app.sock:localhost:80'],
  ['-R', '1080', 'R 127.0.0.1:1080:socks'],
  ['-R', '0.0.0.0:1080', 'R 0.0.0.0:1080:socks'],
  ['-R', '[::1]:1080', 'R [::1]:1080:socks'],
  ['-D', '1080', 'L 127.0.0.1:1080:socks'],
  ['-D', '0', 'L 127.0.0.1:0:socks'],
  ['-D', '127.0.0.1:1080', 'L 127.0.0.1:1080:socks'],
  ['-D', '*:1080', 'L [::]:1080:socks'],
  ['-D', ':1080', 'L [::]:1080:socks'],
  ['-D', '[::1]:1080', 'L [::1]:1080:socks'],
  // international names
  ['-L', '1:bücher.example:80', 'L 127.0.0.1:1:xn--bcher-kva.example:80'],
  ['-L', '1:BÜCHER.example:80', 'L 127.0.0.1:1:xn--bcher-kva.example:80'],
  ['-L', '1:例え。テスト:53/udp', 'L 127.0.0.1:1:xn--r8jz45g.xn--zckzah:53/udp'],
  ['-R', '80:faß.example:80', 'R 127.0.0.1:80:xn--fa-hia.example:80'],
  ['-L', 'tcp://1:bücher.example:80', 'L 127.0.0.1:1:xn--bcher-kva.example:80'],
  // ranges
  ['-L', '8000-8002:web:9000', 'L 127.0.0.1:8000:web:9000 L 127.0.0.1:8001:web:9001 L 127.0.0.1:8002:web:9002'],
  ['-L', '8000-8001:web:9000-9001', 'L 127.0.0.1:8000:web:9000 L 127.0.0.1:8001:web:9001'],
  ['-L', '7-7:web:9', 'L 127.0.0.1:7:web:9'],
  ['-L', '0.0.0.0:1-2:web:1', 'L 0.0.0.0:1:web:1 L 0.0.0.0:2:web:2'],
  ['-L', '53-54:dns:53/udp', 'L 127.0.0.1:53:dns:53/udp L 127.0.0.1:54:dns:54/udp'],
  ['-L', '80-81:@web', 'L 127.0.0.1:80:@web L 127.0.0.1:81:@web'],
  ['-R', '2000-2001:localhost:3000', 'R 127.0.0.1:2000:localhost:3000 R 127.0.0.1:2001:localhost:3001'],
  ['-L', '3000-3001', 'L 127.0.0.1:3000:127.0.0.1:3000 L 127.0.0.1:3001:127.0.0.1:3001'],
  // chisel
  ['-L', '3000', 'L 127.0.0.1:3000:127.0.0.1:3000'],
  ['-L', 'example.com:3000', 'L 127.0.0.1:3000:example.com:3000'],
  ['-L', '3000:google.com:80', 'L 127.0.0.1:3000:google.com:80'],
  ['-L', '192.168.0.5:3000:google.com:80', 'L 192.168.0.5:3000:google.com:80'],
  ['-L', 'socks', 'L 127.0.0.1:1080:socks'],
  ['-L', '5000:socks', 'L 127.0.0.1:5000:socks'],
  ['-L', '0.0.0.0:5000:socks', 'L 0.0.0.0:5000:socks'],
  ['-L', 'SOCKS', 'L 127.0.0.1:1080:socks'],
  ['-L', '1.1.1.1:53/udp', 'L 127.0.0.1:53:1.1.1.1:53/udp'],
  ['-L', '53:1.1.1.1:53/udp', 'L 127.0.0.1:53:1.1.1.1:53/udp'],
  ['-L', '53:1.1.1.1:53/UDP', 'L 127.0.0.1:53:1.1.1.1:53/udp'],
  ['-L', '5432:db:5432/tcp', 'L 127.0.0.1:5432:db:5432'],
  ['-L', '53:[2606:4700::1111]:53/udp', 'L 127.0.0.1:53:[2606:4700::1111]:53/udp'],
  ['-L', '0.0.0.0:53:1.1.1.1:53/udp', 'L 0.0.0.0:53:1.1.1.1:53/udp'],
  ['-L', 'R:2222:localhost:22', 'R 127.0.0.1:2222:localhost:22'],
  ['-R', 'R:2222:localhost:22', 'R 127.0.0.1:2222:localhost:22'],
  ['-L', 'R:socks', 'R 127.0.0.1:1080:socks'],
  ['-L', 'R:5000:socks', 'R 127.0.0.1:5000:socks'],
  ['-R', 'socks', 'R 127.0.0.1:1080:socks'],
  ['-R', '5000:socks', 'R 127.0.0.1:5000:socks'],
  ['-L', 'R:8080', 'R 127.0.0.1:8080:127.0.0.1:8080'],
  ['-R', 'R:8080', 'R 127.0.0.1:8080:127.0.0.1:8080'],
  ['-L', 'R:0.0.0.0:8080:localhost:80', 'R 0.0.0.0:8080:localhost:80'],
  ['-R', '53:1.1.1.1:53/udp', 'R 127.0.0.1:53:1.1.1.1:53/udp'],
  ['-D', 'socks', 'L 127.0.0.1:1080:socks'],
  ['-D', '5000:socks', 'L 127.0.0.1:5000:socks'],
  // wstunnel
  ['-L', 'tcp://1212:google.com:443', 'L 127.0.0.1:1212:google.com:443'],
  ['-L', 'tcp://0.0.0.0:1212:google.com:443', 'L 0.0.0.0:1212:google.com:443'],
  ['-L', 'tcp://[::1]:2:n.lan:4', 'L [::1]:2:n.lan:4'],
  ['-L', 'TCP://1:db:2', 'L 127.0.0.1:1:db:2'],
  ['-L', 'udp://1212:1.1.1.1:53', 'L 127.0.0.1:1212:1.1.1.1:53/udp'],
  ['-L', 'udp://[::1]:1212:[::1]:53', 'L [::1]:1212:[::1]:53/udp'],
  ['-L', 'socks5://127.0.0.1:1080', 'L 127.0.0.1:1080:socks'],
  ['-L', 'socks5://[::1]:1212', 'L [::1]:1212:socks'],
  ['-L', 'socks5://1080', 'L 127.0.0.1:1080:socks'],
  ['-L', 'http://[::1]:1212', 'L [::1]:1212:socks'],
  ['-D', 'socks5://127.0.0.1:1080', 'L 127.0.0.1:1080:socks'],
  ['-L', 'unix://wstunnel.sock:g.com:443', 'L wstunnel.sock:g.com:443'],
  ['-L', 'unix:///tmp/wstunnel.sock:g.com:443', 'L /tmp/wstunnel.sock:g.com:443'],
  ['-R', 'tcp://2222:localhost:22', 'R 127.0.0.1:2222:localhost:22'],
  ['-R', 'tcp://[::]:1212:google.com:443', 'R [::]:1212:google.com:443'],
  ['-R', 'socks5://[::1]:1212', 'R [::1]:1212:socks'],
  ['-R', 'http://1212', 'R 127.0.0.1:1212:socks'],
  ['-R', 'unix:///run/app.sock:localhost:80', 'R /run/app.sock:localhost:80'],
]

/** Option, what is written, the column that the message names (0 for none), and a part of the problem. */
const REFUSED: readonly (readonly [SpecOption, string, number, RegExp])[] = [
  ['-L', '', 1, /empty/],
  ['-R', '', 1, /empty/],
  ['-D', '', 1, /empty/],
  ['-L', '1:bü%40:80', 3, /neither a host name nor an address/],
  ['-L', '1:bü/cher:80', 3, /neither a host name nor an address/],
  ['-L', '1:ü..example:80', 3, /neither a host name nor an address/],
  ['-L', '1:\u{1f980}\u200d:80', 3, /neither a host name nor an address/],
  ['-L', '1:2', 3, /host is missing/],
  ['-L', 'a:b:c', 3, /port to listen on/],
  ['-L', 'db', 1, /port to listen on/],
  ['-L', '1:db:2:3:4', 8, /too much/],
  ['-L', '1:db:', 6, /not a number/],
  ['-L', '1:db', 3, /port is missing/],
  ['-L', '1::2', 3, /host is missing/],
  ['-L', '1:db:99999', 6, /not a number/],
  ['-L', '99999:db:1', 1, /not a number/],
  ['-L', '1:db:0', 6, /not a number/],
  ['-L', '1:[::1:2', 8, /bracket is not closed/],
  ['-L', '1:::1]:2', 6, /brackets do not match/],
  ['-L', '1:[[::1]]:2', 4, /brackets do not match/],
  ['-L', '1:d b:2', 4, /space/],
  ['-L', '1:db:2\n', 7, /control/],
  ['-L', '1:@', 3, /@NAME/],
  ['-L', '1:@a/b', 3, /@NAME/],
  ['-L', '1:@web:80', 8, /nothing can follow/],
  ['-L', '::1:1:db:2', 2, /port to listen on/],
  ['-L', '-1:db:2', 4, /port to listen on/],
  ['-L', '1:b_@d:2', 3, /neither a host name nor an address/],
  ['-L', '1:300.1.1.1:2:3', 15, /too much/],
  ['-L', '8010-8000:web:1', 1, /not a range/],
  ['-L', '0-5:web:1', 1, /not a range/],
  ['-L', '1-2:web:1-3', 9, /3 ports for 2/],
  ['-L', '1-2:/run/x.sock', 5, /range of ports cannot/],
  ['-L', '1-2000:web:1', 1, /2000 ports/],
  ['-L', '65000-65010:web:65530', 17, /would end at 65540/],
  ['-L', '1:/run/x.sock:2', 15, /nothing can follow/],
  ['-L', '/run/x.sock', 12, /where it leads to/],
  ['-L', '/run/x.sock:db', 13, /port is missing/],
  ['-L', '/run/x.sock:db:53/udp', 1, /no datagrams/],
  ['-L', 'tcp://db:5432', 7, /is missing/],
  ['-L', 'tcp://5432', 7, /is missing/],
  ['-L', 'tcp://1:db:2?timeout_sec=10', 13, /settings after/],
  ['-L', 'tcp://1:db:2/udp', 6, /contradicts/],
  ['-L', 'stdio://g.com:443', 1, /standard input/],
  ['-L', 'tproxy+tcp://1:db:2', 1, /is not one of/],
  ['-L', 'ftp://1:db:2', 1, /is not one of/],
  ['-L', 'unix://:db:2', 8, /path is missing/],
  ['-L', 'socks5://a:b:c', 14, /too much/],
  ['-L', 'a:b:socks:socks', 5, /too much/],
  ['-L', 'x:socks', 1, /is not a port/],
  ['-R', 'localhost:22x', 11, /port to listen on/],
  ['-R', '22:@', 4, /@NAME/],
  ['-D', 'db', 1, /is not a port/],
  ['-D', '1:2:3', 5, /too much/],
  ['-D', 'R:1080', 1, /R: makes a reverse/],
  ['-D', '70000', 1, /not a number/],
]

const canonical = (option: SpecOption, text: string) =>
  parseForwards(option, text)
    .map((forward) => `${forward.direction === 'local' ? 'L' : 'R'} ${formatForward(forward)}`)
    .join(' ')

describe('specs of forwards in three dialects', () => {
  it(`the table has at least 120 lines: ${READ.length + REFUSED.length}`, () => {
    assert.ok(READ.length + REFUSED.length >= 120)
  })
  for (const [option, text, expected] of READ) {
    it(`${option} ${text}`, () => {
      assert.equal(canonical(option, text), expected)
      // What is canonical reads as itself.
      for (const forward of parseForwards(option, text)) {
        if (forward.listen.kind === 'unix' && !/^[./]/.test(forward.listen.path)) continue
        const again = parseForwards(forward.direction === 'local' ? '-L' : '-R', formatForward(forward))
        assert.deepEqual(again, [forward])
      }
    })
  }
  for (const [option, text, column, problem] of REFUSED) {
    it(`refuses ${option} ${JSON.stringify(text)}`, () => {
      assert.throws(
        () => parseForwards(option, text),
        (error) => {
          assert.ok(error instanceof SluiceError && error.code === 'ERR_SLUICE_USAGE', String(error))
          assert.match(error.message, problem)
          assert.match(error.message, new RegExp(`, column ${column}:`))
          return true
        },
      )
    })
  }
})
