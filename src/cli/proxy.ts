import { type Command, createCommand } from 'commander';
import type { LiveWorld } from './serve/live-world.ts';
import type { ProxyOptions } from './proxy/proxy-options.ts';
import type { Session } from './terminal/session.ts';

/** `viommu proxy`. What it does is loaded when it is needed, so that `--help` does not wait for it. */
export function proxyCommand(session: Session, world?: LiveWorld): Command {
  return createCommand('proxy')
    .summary('stand between a VMM and a strict vfio-user server, and show what passes')
    .description(
      'Stands between a VMM and a vfio-user server. Registers and interrupts pass unchanged; DMA mappings go through a ' +
        'ledger, so that a server that takes exact unmaps only (libvfio-user, SPDK) gets exact unmaps, no overlaps and ' +
        'no more than it can hold, whatever the VMM sends.',
    )
    .requiredOption('--listen <PATH>', 'UNIX socket for the VMM; created, and removed at the end')
    .requiredOption('--connect <PATH>', 'UNIX socket on which the server listens')
    .option('--merge', 'merge neighbouring mappings for the server, for one that can hold few')
    .option('--json', 'one line of JSON an event instead of text for people')
    .option('--verbose', 'a line also for each message that passes; for people, for each DMA event too')
    .addHelpText('after', HELP)
    .action(async (options: ProxyOptions) => {
      const { proxy } = await import('./proxy/proxy-job.ts');
      session.exitCode = await proxy(session.io, options, world);
    });
}

const HELP = `
QEMU's vIOMMUs remove mappings in ranges that are not those that were mapped. Servers written with libvfio-user refuse
that, keep what should be gone, and then refuse the next mapping as well. The proxy knows what the server holds, and
removes just that.

An emulated NVMe drive of SPDK behind a vIOMMU, SPDK's socket in /var/run/nvme0:
  $ viommu proxy --listen /tmp/nvme.sock --connect /var/run/nvme0/cntrl
  $ qemu-system-x86_64 -object memory-backend-memfd,id=mem,size=2G,share=on \\
      -machine q35,memory-backend=mem,kernel-irqchip=split -m 2G -device intel-iommu,caching-mode=on \\
      -device pcie-root-port,id=rp1,chassis=1 \\
      -device '{"driver":"vfio-user-pci","bus":"rp1","socket":{"path":"/tmp/nvme.sock","type":"unix"}}'
Plugged in while the guest runs, by QMP:
  {"execute":"device_add","arguments":{"driver":"vfio-user-pci","id":"nvme0","bus":"rp1",
      "socket":{"path":"/tmp/nvme.sock","type":"unix"}}}

One VMM is served at a time, others are turned away; for each, the server is connected to anew. A server that does not
listen yet is waited for, some seconds, as long as QEMU waits; then the VMM is refused.

--merge gives the server one mapping for neighbours that are mapped in one burst and continue each other in memory and in
the file. When a part of it goes, all of it is removed and the rest mapped again; DMA to the rest fails meanwhile.

With --json standard output has one line a DMA event: what the server was asked for, as it answered, and what the VMM had
asked for, as it was answered, which comes last:
  {"t":1767225600.123456,"side":"server","op":"map","iova":"0x1000","size":4096,"offset":"0x0","perm":"rw","result":"ok"}
  {"t":1767225600.123499,"side":"vmm","op":"map","iova":"0x1000","size":4096,"offset":"0x0","perm":"rw","result":"ok"}
An unmap has no offset and perm but "removed", the number of mappings that went. With --verbose messages that pass have
lines as well:
  {"t":1767225600.123456,"side":"vmm","op":"pass","message":"REGION_READ","kind":"command","size":32,"descriptors":0,"result":"ok"}
Who came and went is told on standard error.

The line "ledger" on standard input, or SIGUSR1, prints what the server holds now, ascending; with --json as one line:
  {"ledger":[{"iova":"0x1000","size":4096,"offset":"0x0","perm":"rw"}]}

SIGINT (Ctrl-C) and SIGTERM end the command. Where koffi, an optional dependency, is not installed, no descriptors can
be passed on: the server then gets no shared memory and no eventfds, and that is announced.

Examples:
  $ viommu proxy --listen /tmp/vmm.sock --connect /tmp/device.sock
  $ viommu proxy --listen /tmp/vmm.sock --connect /tmp/device.sock --merge --json

Exit status:
  0  ended by a signal, or because nobody reads standard output any more
  2  the command line is wrong, the socket cannot be made, or standard output cannot be written
`;
