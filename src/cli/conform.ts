import { type Command, createCommand, Option } from 'commander';
import type { ScenarioModel } from '../conform/index.ts';
import type { ConformOptions } from './conform/conform-job.ts';
import type { Session } from './terminal/session.ts';

const MODELS: readonly ScenarioModel[] = ['vtd', 'amdvi', 'virtio-iommu'];

/** `viommu conform`. The job is loaded when it is needed, so that `--help` does not wait for it. */
export function conformCommand(session: Session): Command {
  return createCommand('conform')
    .summary("run the scenario table against a QEMU, or against viommu's own models")
    .description(
      'Runs scenarios in which a guest programs its IOMMU while VFIO devices come and go, and compares what the host of ' +
        'each device is told with what the specification asks for. A QEMU is driven without a guest: its memory, registers ' +
        'and virtqueues from outside, with vfio-user servers as the devices.',
    )
    .option('--vmm <PATH>', "a qemu-system-x86_64 with vfio-user-pci (default: viommu's own models)")
    .addOption(new Option('--model <KIND...>', 'only scenarios of these IOMMUs').choices(MODELS))
    .option(
      '--only <TEXT...>',
      'only scenarios of this name, with this in their name, or of this finding (R3)',
    )
    .option('--list', 'list the scenarios and run none')
    .option('--steps', 'list the steps of every scenario that differs')
    .option('--json', 'one JSON object a scenario instead of text for people')
    .addHelpText('after', HELP)
    .action(async (options: ConformOptions) => {
      const { conform } = await import('./conform/conform-job.ts');
      session.exitCode = await conform(session.io, options);
    });
}

const HELP = `
For every scenario the report says ok, differs, or not supported by that QEMU. Where it differs it says at which step,
what was expected and what was seen, and the specification's rule; and whether QEMU 11.1.3 was seen to do just that.
docs/conformance.md has those findings by their numbers, and says what is compared. At the end a release that is not
11.1.3 is told of where it does otherwise.

With --json each scenario is one line:
  {"scenario","model","title","verdict","known","differences":[{"step","when","what","expected","seen"}],"finding","why"}
where verdict is ok, differs, not-supported or broken (it could not be carried out), and finding is there for every
scenario in which QEMU 11.1.3 differs.

Examples:
  $ viommu conform --vmm /usr/bin/qemu-system-x86_64
  $ viommu conform --vmm build/qemu-system-x86_64 --model vtd --only split merge
  $ viommu conform --vmm build/qemu-system-x86_64 --only R3 vtd-reset --steps
  $ viommu conform --list

Exit status:
  0  every scenario that could be run is ok
  1  at least one differs or is broken
  2  the command line is wrong, or the QEMU cannot be run
`;
