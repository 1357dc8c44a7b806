import { type Command, createCommand, Option } from 'commander';
import { GuestFileError, shippedCaptures } from '../guests/index.ts';
import { pageSizeArgument } from './terminal/arguments.ts';
import { ExitCode } from './terminal/exit-codes.ts';
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
  readonly json?: boolean;
}

const HOSTS: readonly ReplayOptions['host'][] = ['type1', 'iommufd', 'vfio-user'];

/** `viommu replay [CAPTURE...]`. The job is loaded when it is needed, so that `--help` does not wait for it. */
export function replayCommand(session: Session, job: ReplayJob = loadedJob): Command {
  return createCommand('replay')
    .summary("plug a device into a captured guest, replay its IOMMU's mappings, follow the changes, compare")
    .description(
      'Plugs a VFIO device into a captured guest whose IOMMU already holds mappings, replays them to a host IOMMU ' +
        'in memory, plays every change that the guest made afterwards through its registers and tables, and compares: ' +
        'the replay with what QEMU replayed, and the host IOMMU at the end with what the guest programmed.',
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
    .option('--json', 'one JSON object a capture instead of text for people')
    .addHelpText('after', HELP)
    .action(async (captures: string[], options: ReplayCommandOptions) => {
      session.exitCode = await replayAll(session, captures, options, job);
    });
}

async function replayAll(
  { io }: Session,
  captures: readonly string[],
  options: ReplayCommandOptions,
  job: ReplayJob,
): Promise<ExitCode> {
  const folders = captures.length > 0 ? captures : await shippedCaptures();
  const count = { equal: 0, different: 0, unreadable: 0 };
  for (const folder of folders) {
    const progress = new Progress(io);
    const { host, hostPageSize } = options;
    try {
      const result = await job(folder, {
        host,
        hostPageSize,
        progress: (done, total, what) =>
          progress.update(() =>
            total > 1 ? `${what}, ${formatCount(done)} of ${formatCount(total)}` : what,
          ),
      });
      progress.clear();
      count[result.equal ? 'equal' : 'different']++;
      if (options.json === true) {
        if (result.refused !== undefined) io.err(`viommu: ${printable(`${folder}: ${result.refused}`)}\n`);
        await io.out(replayJson(result));
      } else {
        await io.out(replayText(result, options, io));
      }
    } catch (error) {
      progress.clear();
      // The other captures are worth their report all the same.
      if (!(error instanceof GuestFileError)) throw error;
      count.unreadable++;
      io.err(`viommu: ${error.message}\n`);
    }
  }
  if (options.json !== true) await io.out(replaySummary(count, io));
  if (count.unreadable > 0) return ExitCode.Unusable;
  return count.different > 0 ? ExitCode.Different : ExitCode.Ok;
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

Examples:
  $ viommu replay
  $ viommu replay captures/vtd-legacy-e1000 --host vfio-user
  $ viommu replay --host iommufd --host-page-size 64K --json

Exit status:
  0  all captures are equal
  1  at least one differs, or its plug was refused
  2  the command line is wrong, or a capture cannot be read (the others are still reported)
`;
