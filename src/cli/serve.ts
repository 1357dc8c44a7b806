import { type Command, createCommand, InvalidArgumentError, Option } from 'commander';
import type { LiveWorld } from './serve/live-world.ts';
import type { ServeOptions } from './serve/serve-options.ts';
import type { Session } from './terminal/session.ts';

/** What fits into a process of some gigabytes. */
const MOST_MAPS: number = 2 ** 22;

/** `viommu serve`. What it does is loaded when it is needed, so that `--help` does not wait for it. */
export function serveCommand(session: Session, world?: LiveWorld): Command {
  return createCommand('serve')
    .summary('be a device over vfio-user, and show what the VMM maps for it')
    .description(
      'Serves a PCI device over vfio-user, to one VMM after the other, and shows live which guest memory the VMM maps ' +
        'for the device: behind a vIOMMU that is what the guest programmed, mapping by mapping.',
    )
    .requiredOption('--socket <PATH>', 'UNIX socket to listen on; created, and removed at the end')
    .addOption(
      new Option(
        '--device <KIND>',
        'probe does nothing; edu is a DMA engine like QEMU\'s teaching device "edu"',
      )
        .choices(['probe', 'edu'])
        .default('probe'),
    )
    .option('--json', 'one line of JSON an event instead of text for people')
    .option('--verbose', 'for people: a line an event, not only sums and refusals')
    .option(
      '--max-dma-maps <N>',
      'most mappings to hold; announced to the VMM, and further ones are refused',
      maxDmaMaps,
      MOST_MAPS,
    )
    .option('--strict', 'refuse what libvfio-user refuses: unmaps that are not of exactly one mapping')
    .option('--messages', 'message mode: reach guest memory by messages, also where it could be shared')
    .addHelpText('after', HELP)
    .action(async (options: ServeOptions) => {
      const { serve } = await import('./serve/serve-job.ts');
      session.exitCode = await serve(session.io, options, world);
    });
}

function maxDmaMaps(text: string): number {
  const count = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > MOST_MAPS) {
    throw new InvalidArgumentError('Write a number of mappings, 1 to 4194304.');
  }
  return count;
}

const HELP = `
With QEMU 10.1 or later (its command line, in the same order as here):
  $ viommu serve --socket /tmp/viommu.sock
  $ qemu-system-x86_64 -object memory-backend-memfd,id=mem,size=2G,share=on \\
      -machine q35,memory-backend=mem -m 2G \\
      -device '{"driver":"vfio-user-pci","socket":{"path":"/tmp/viommu.sock","type":"unix"}}'
Behind a vIOMMU, plugged in while the guest runs:
  $ qemu-system-x86_64 -object memory-backend-memfd,id=mem,size=2G,share=on \\
      -machine q35,memory-backend=mem,kernel-irqchip=split -m 2G -device intel-iommu,caching-mode=on \\
      -device pcie-root-port,id=rp1,chassis=1 -qmp unix:/tmp/qmp.sock,server=on,wait=off
  {"execute":"device_add","arguments":{"driver":"vfio-user-pci","id":"probe0","bus":"rp1",
      "socket":{"path":"/tmp/viommu.sock","type":"unix"}}}

Guest memory must be shared (share=on). Without it QEMU sends a file whose bytes are not the guest's, which nobody can
see from here: mappings are right all the same, DMA is not. Use --messages then.

Message mode reaches guest memory by DMA_READ and DMA_WRITE, which the VMM carries out: slower, and good for memory that
is not shared. It is what remains, without interrupts, where koffi, the optional dependency through which descriptors are
passed, is not installed; that is announced.

With --json standard output has one line an event, as it was answered:
  {"t":1767225600.123456,"op":"map","iova":"0x1000","size":4096,"offset":"0x0","perm":"rw","result":"ok"}
  {"t":1767225600.123999,"op":"unmap","iova":"0x1000","size":4096,"offset":"0x0","perm":"rw","result":"ok","removed":1}
t is Unix time in seconds. A result other than "ok" is the name of an errno. An unmap that is not of exactly one mapping
has null for offset and perm; "removed" says how many mappings went. Who came and went is told on standard error.

The line "ledger" on standard input, or SIGUSR1, prints what is mapped now, ascending; with --json as one line:
  {"ledger":[{"iova":"0x1000","size":4096,"offset":"0x0","perm":"rw"}]}

No more mappings are announced than the VMM proposed, 65535 for QEMU, which sends more all the same; they are taken up to
--max-dma-maps.

When the VMM goes, the next one is waited for; while one is there, others are turned away. SIGINT (Ctrl-C) and SIGTERM
end the command.

Examples:
  $ viommu serve --socket /tmp/viommu.sock
  $ viommu serve --socket /tmp/viommu.sock --json > events.jsonl
  $ viommu serve --socket /tmp/viommu.sock --strict --max-dma-maps 1000
  $ viommu serve --socket /tmp/edu.sock --device edu --messages

Exit status:
  0  ended by a signal, or because nobody reads standard output any more
  2  the command line is wrong, the socket cannot be made, or standard output cannot be written
`;
