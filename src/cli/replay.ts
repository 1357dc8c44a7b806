import { type Command, createCommand, Option } from 'commander';
import { GuestFileError, shippedCaptures } from '../guests/index.ts';
import type { RemoteServer } from './replay/remote-server.ts';
import type { LiveWorld } from './serve/live-world.ts';
import { pageSizeArgument } from './terminal/arguments.ts';
import { ExitCode, UsageError } from './terminal/exit-codes.ts';
import type { CommandIo } from './terminal/io.ts';
import { Progress } from './terminal/progress.ts';
import type { ReplayOptions, ReplayResult } from './replay/replay-result.ts';
import { replayJson, replaySummary, replayText } from './replay/replay-report.ts';
import type { Session } from './terminal/session.ts';
import { formatCount, printable } from './terminal/text.ts';

/** The job itself: replays one capture folder. */
export type ReplayJob = (folder: string, options: ReplayOptions) => Promise<ReplayResult>;

interface ReplayCommandOptions {
  readonly host: ReplayOptions['host'];
  readonly hostPageSize: number;
  readonly connect?: string;
  readonly hold?: boolean;
  readonly json?: boolean;
}

const HOSTS: readonly ReplayOptions['host'][] = ['type1', 'iommufd', 'vfio-user'];

/**
 * `viommu replay [CAPTURE...]`. The job is loaded when it is needed, so that `--help` does not wait for it. `world` has
 * the sockets for `--connect`.
 */
export function replayCommand(session: Session, job: ReplayJob = loadedJob, world?: LiveWorld): Command {
  return createCommand('replay')
    .summary("plug a device into a captured guest, replay its IOMMU's mappings, follow the changes, compare")
    .description(
      'Plugs a VFIO device into a captured guest whose IOMMU already holds mappings, replays them to a host IOMMU ' +
        'in memory, or to a vfio-user server, plays every change that the guest made afterwards through its registers ' +
        'and tables, or its requests, and compares: the replay with what QEMU replayed, and the host IOMMU at the end ' +
        'with what the guest programmed.',
    )
    .argument('[capture...]', 'folders of captures (default: the captures that ship with viommu)')
    .addOption(
      new Option(
        '--host <KIND>',
        'how strict the host IOMMU is: like VFIO type1, like iommufd, or like a vfio-user server',
      )
        .choices(HOSTS)
        .default('type1'),
    )
    .option(
      '--host-page-size <BYTES>',
      'smallest page of the host IOMMU, as 4096 or 64K',
      pageSizeArgument,
      4096,
    )
    .addOption(
      new Option(
        '--connect <PATH>',
        'replay into the vfio-user server that listens at this socket, instead of a host IOMMU in memory',
      ).conflicts(['host', 'hostPageSize']),
    )
    .option('--hold', 'with --connect: stay connected after the report, so that the server can be looked at')
    .option('--json', 'one JSON object a capture instead of text for people')
    .addHelpText('after', HELP)
    .action(async (captures: string[], options: ReplayCommandOptions) => {
      session.exitCode = await replayAll(session, captures, options, { job, world });
    });
}

async function replayAll(
  { io }: Session,
  captures: readonly string[],
  options: ReplayCommandOptions,
  { job, world }: { readonly job: ReplayJob; readonly world: LiveWorld | undefined },
): Promise<ExitCode> {
  const folders = captures.length > 0 ? captures : await shippedCaptures();
  checkHold(options, folders.length);
  const count = { equal: 0, different: 0, unreadable: 0 };
  const summarise = async (): Promise<void> => {
    if (options.json !== true) await io.out(replaySummary(count, io));
  };
  for (const folder of folders) {
    const server = options.connect === undefined ? undefined : await reach(options.connect, world);
    try {
      const outcome = await replayOne(io, folder, options, job, server);
      count[outcome]++;
      if (options.hold === true) {
        await summarise();
        if (outcome !== 'unreadable') await server?.hold(io);
      }
    } finally {
      await server?.close();
    }
  }
  if (options.hold !== true) await summarise();
  if (count.unreadable > 0) return ExitCode.Unusable;
  return count.different > 0 ? ExitCode.Different : ExitCode.Ok;
}

/** Replays one capture and reports on it. */
async function replayOne(
  io: CommandIo,
  folder: string,
  options: ReplayCommandOptions,
  job: ReplayJob,
  server: RemoteServer | undefined,
): Promise<'equal' | 'different' | 'unreadable'> {
  const progress = new Progress(io);
  const host = {
    host: server === undefined ? options.host : 'vfio-user',
    hostPageSize: server?.pageSize ?? options.hostPageSize,
    ...(server === undefined ? {} : { server }),
  } as const;
  try {
    const result = await job(folder, {
      ...host,
      progress: (done, total, what) =>
        progress.update(() => (total > 1 ? `${what}, ${formatCount(done)} of ${formatCount(total)}` : what)),
    });
    progress.clear();
    if (options.json === true) {
      if (result.refused !== undefined) io.err(`viommu: ${printable(`${folder}: ${result.refused}`)}\n`);
      await io.out(replayJson(result));
    } else {
      await io.out(replayText(result, host, io));
    }
    return result.equal ? 'equal' : 'different';
  } catch (error) {
    progress.clear();
    // The other captures are worth their report all the same.
    if (!(error instanceof GuestFileError)) throw error;
    io.err(`viommu: ${error.message}\n`);
    return 'unreadable';
  }
}

function checkHold({ hold, connect }: ReplayCommandOptions, captures: number): void {
  if (hold !== true) return;
  if (connect === undefined) {
    throw new UsageError('--hold keeps a server connected', 'name one with --connect PATH');
  }
  if (captures !== 1) {
    throw new UsageError(`--hold is for one capture, not for ${captures}`, 'name the folder of one');
  }
}

async function reach(path: string, world: LiveWorld | undefined): Promise<RemoteServer> {
  const { RemoteServer } = await import('./replay/remote-server.ts');
  return RemoteServer.reach(path, world);
}

async function loadedJob(folder: string, options: ReplayOptions): Promise<ReplayResult> {
  const { replayCapture } = await import('./replay/replay-job.ts');
  return replayCapture(folder, options);
}

const HELP = `
A report for people has the mappings by size and permission, the messages to the host, the times, and every difference.
With --json each capture is one line:
  {"capture","requester","replayed","matchesQemu","eventsPlayed","finalMappings","finalEqual","equal"}
where matchesQemu is null if the capture holds nothing that QEMU replayed.

With --connect the host IOMMU is a running vfio-user server: viommu serve, or any other. It is given the mappings of one
device over the connection, and page size and number of mappings are what it announces; what it has not refused is
compared. The memory of a capture is no file that could be shared, so the server reaches it by messages. With each
capture the connection begins anew, and everything goes when it ends; --hold keeps it until Enter or Ctrl-C.

Examples:
  $ viommu replay
  $ viommu replay captures/vtd-legacy-e1000 --host vfio-user
  $ viommu replay --host iommufd --host-page-size 64K --json
  $ viommu serve --socket /tmp/viommu.sock
  $ viommu replay captures/vtd-legacy-e1000 --connect /tmp/viommu.sock --hold

Exit status:
  0  all captures are equal
  1  at least one differs, or its plug was refused
  2  the command line is wrong, there is no server at --connect, or a capture cannot be read (the others are still
     reported)
`;
