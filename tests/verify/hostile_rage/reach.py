# ruff: noqa: E501 - the table holds code as candidates write it
"""The table's second half: candidates that reach for what is not theirs."""

from __future__ import annotations

from tests.verify.hostile_rage.rows import BOMBS, LEFT_BEHIND, LOOPS, OUTPUT, SIGNALS, Row

PROCESSES = (
    Row(
        "the supervisor's memory and files",
        """
        for pid in {os.getppid(), *map(int, filter(str.isdigit, os.listdir('/proc')))}:
            if pid in (1, os.getpid()): continue
            for name in ('mem', 'environ', 'maps', 'fd', 'cwd', 'root', 'auxv'):
                path = f'/proc/{pid}/{name}'
                if name == 'fd':
                    for number in range(40):
                        tried(path, os.readlink, f'{path}/{number}')
                        tried(path, os.open, f'{path}/{number}', os.O_RDONLY | os.O_NONBLOCK)
                elif name in ('cwd', 'root'): tried(path, os.readlink, path)
                else: tried(path, lambda: open(path, 'rb').read(1) [0])
        """,
        verdicts=("failed",),
        says=("reached for what tests it: memory through /proc",),
    ),
    Row(
        "ptrace and process_vm_readv",
        """
        boss = os.getppid()
        tried('attach', LIBC.ptrace, 16, boss, 0, 0)
        tried('seize', LIBC.ptrace, 0x4206, boss, 0, 0)
        class Vector(ctypes.Structure):
            _fields_ = [('base', ctypes.c_void_p), ('size', ctypes.c_size_t)]
        here = ctypes.create_string_buffer(8)
        local, far = Vector(ctypes.addressof(here), 8), Vector(0x400000, 8)
        for call in (LIBC.process_vm_readv, LIBC.process_vm_writev):
            tried('vm', call, boss, ctypes.byref(local), 1, ctypes.byref(far), 1, 0)
        if hasattr(os, 'pidfd_open'):
            handle = os.pidfd_open(boss)
            for number in range(40):
                tried('pidfd_getfd', LIBC.syscall, 438, handle, number, 0)
        """,
    ),
    Row(
        "process 1's files and root",
        """
        for path in glob.glob('/proc/1/fd/*'):
            real = os.readlink(path)
            if real.startswith('/') and not real.startswith('/dev/'):
                tried(real, open, path, 'ab')
        for root in ('/proc/1/root', '/proc/self/root', '/proc/1/cwd/../../../../../..'):
            tried(root, open, root + BAIT['secret'])
            tried(root, open, root + BAIT['outside'], 'r+')
        """,
    ),
    Row(
        "files that were open",
        """
        for name in os.listdir('/proc/self/fd'):
            try: real = os.readlink('/proc/self/fd/' + name)
            except OSError: continue
            if real.startswith((BAIT['folder'], BAIT['runtime'])) and not real.startswith(str(HERE)):
                NOTED.append(real)
        """,
    ),
    Row(
        "the kernel's key and sockets",
        """
        lines = open('/proc/self/mountinfo').read().splitlines()
        folders = [line.split()[4] for line in lines if line.split()[4].endswith('/i')]
        assert folders, lines
        for folder in folders:
            NOTED.extend(os.listdir(folder))
            tried('new file', open, folder + '/c.json', 'w')
            tried('new folder', os.mkdir, folder + '/x')
            for port in range(1, 6):
                tried('connect', socket.socket(socket.AF_UNIX).connect, f'{folder}/i-{port}')
        for pattern in ('/run/**/c.json', '/tmp/**/c.json', BAIT['runtime'] + '/**/c.json'):
            NOTED.extend(glob.glob(pattern, recursive=True))
        NOTED.extend(name for name in os.environ if name.startswith(('JPY', 'JUPYTER')))
        """,
    ),
    Row(
        "our runtime folder",
        "tried('engine', open, BAIT['runtime'] + '/engine')\n"
        "NOTED.extend(name for name in os.listdir(BAIT['runtime']) if not name.startswith('k'))",
    ),
)

NETWORK = (
    Row(
        "abstract sockets",
        "tried('abstract', socket.socket(socket.AF_UNIX).connect, chr(0) + BAIT['abstract'])",
    ),
    Row(
        "agents' sockets by path",
        """
        for path in BAIT['sockets']:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                tried(path, socket.socket(socket.AF_UNIX, kind).connect, path)
        """,
    ),
    Row(
        "agents' sockets by the environment",
        """
        for name in ('SSH_AUTH_SOCK', 'DOCKER_HOST', 'DBUS_SESSION_BUS_ADDRESS', 'GPG_AGENT_INFO',
                     'DISPLAY', 'WAYLAND_DISPLAY', 'XDG_RUNTIME_DIR'):
            if name in os.environ: NOTED.append(name)
        """,
    ),
    Row(
        "loopback",
        """
        tried('IPv4', socket.create_connection, ('127.0.0.1', BAIT['port']), 1)
        tried('IPv6', socket.create_connection, ('::1', BAIT['port6']), 1)
        """,
    ),
    Row(
        "outside network",
        """
        for family, address in ((socket.AF_INET, '192.0.2.1'), (socket.AF_INET6, '2001:db8::1')):
            try: client = socket.socket(family, socket.SOCK_DGRAM)
            except OSError: continue
            tried(address, client.connect, (address, 53))
        tried('name', socket.gethostbyname, 'example.org')
        """,
    ),
    Row(
        "raw sockets",
        """
        for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW)):
            tried('raw', socket.socket, family, kind, 1)
        """,
    ),
)

PRIVILEGE = (
    Row(
        "namespaces and mounts",
        """
        for flag in (0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x08000000):
            tried('unshare', LIBC.unshare, flag)
        tried('mount', LIBC.mount, b'none', b'/tmp', b'tmpfs', 0, None)
        tried('remount', LIBC.mount, b'none', b'/', None, 32, None)
        tried('umount', LIBC.umount2, BAIT['home'].encode() + b'/.ssh', 2)
        tried('umount', LIBC.umount2, b'/tmp', 2)
        tried('pivot', LIBC.syscall, 155, b'/tmp', b'/tmp')
        tried('chroot', os.chroot, '/tmp')
        for name in os.listdir('/proc/1/ns'):
            if os.readlink('/proc/1/ns/' + name) != os.readlink('/proc/self/ns/' + name):
                NOTED.append(name)
        """,
    ),
    Row(
        "device nodes",
        """
        tried('disk', os.mknod, '/tmp/disk', 0o60600, os.makedev(254, 0))
        tried('memory', os.mknod, '/tmp/mem', 0o20600, os.makedev(1, 1))
        NOTED.extend(n for n in os.listdir('/dev') if re.match('[vsh]d[a-z]|nvme|mem$|kmsg|loop', n))
        """,
    ),
    Row(
        "bpf and the like",
        """
        attribute = ctypes.create_string_buffer(128)
        tried('bpf', LIBC.syscall, 321, 5, attribute, 72)
        tried('modules', LIBC.syscall, 175, attribute, 0, b'')
        tried('reboot', LIBC.syscall, 169, 0, 0, 0, 0)
        tried('time', time.clock_settime, time.CLOCK_REALTIME, 0)
        tried('name', socket.sethostname, 'x')
        tried('swap', LIBC.swapoff, b'/dev/zram0')
        for folder in ('/proc/sys/kernel', '/proc/sys/vm', '/sys/power', '/sys/fs/cgroup'):
            for path in glob.glob(folder + '/*'):
                if os.path.isfile(path): tried(path, os.open, path, os.O_WRONLY | os.O_NONBLOCK)
        tried('sysrq', os.open, '/proc/sysrq-trigger', os.O_WRONLY)
        """,
    ),
    Row(
        "the user's session keyring",
        """
        number = {'x86_64': 250, 'aarch64': 219}.get(os.uname().machine, -1)
        if BAIT['key']:
            key = ctypes.create_string_buffer(64)
            tried('read', LIBC.syscall, number, 11, BAIT['key'], key, 64)
            tried('find', LIBC.syscall, number, 10, -3, b'user', b'oci-lsp-rage', 0)
        """,
    ),
    Row(
        "setuid programs",
        """
        status = open('/proc/self/status').read()
        if 'NoNewPrivs:\\t1' not in status: NOTED.append('new privileges')
        if re.search('CapEff:\\t0*[1-9a-f]', status): NOTED.append('capabilities')
        for command in (['sudo', '-n', 'id'], ['su', '-c', 'id', 'nobody']):
            if shutil.which(command[0]):
                ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=9)
                if ran.returncode == 0: NOTED.append(command)
        tried('setuid', os.setuid, 12345)
        tried('setgid', os.setgid, 12345)
        tried('groups', os.setgroups, [12345])
        """,
    ),
    Row(
        "keys into a terminal",
        """
        import fcntl, termios
        tried('tty', open, '/dev/tty', 'r+')
        for number in range(3):
            tried('tiocsti', fcntl.ioctl, number, termios.TIOCSTI, b'x')
        NOTED.extend(set(os.listdir('/dev/pts')) - {'ptmx'})
        """,
    ),
)

_EACH_WAY = """
for path in [os.path.join(top, n) for top, d, f in os.walk({0}) for n in f + d] + [{0}]:
    tried(path, os.chmod, path, 0o777)
    tried(path, os.utime, path, (1, 1))
    tried(path, os.setxattr, path, 'user.x', b'x')
    tried(path, os.chown, path, os.getuid(), os.getgid())
    tried(path, os.rename, path, path + '.moved')
    tried(path, os.link, path, str(HERE / 'link'))
    tried(path, os.link, path, path + '.link')
    tried(path, os.symlink, path, path + '.symlink')
    tried(path, os.truncate, path, 0)
    tried(path, open, path, 'ab')
    tried(path, os.mkdir, path + '.d')
    tried(path, os.rmdir if os.path.isdir(path) else os.unlink, path)
"""

FILES = (
    Row(
        "outside files in every way",
        "assert os.path.exists(BAIT['outside'])\n" + _EACH_WAY.format("BAIT['beside']"),
    ),
    Row(
        "the project's own files in every way",
        _EACH_WAY.format("str(HERE)") + "\nNOTED.clear()",
        ("passed", "failed", "broken", "crashed"),
        reduced=True,
    ),
    Row(
        "links that lead out",
        """
        os.symlink(BAIT['beside'], HERE / 'out')
        tried('through a folder', open, HERE / 'out' / 'file.txt', 'w')
        os.symlink(BAIT['outside'], HERE / 'file')
        tried('through a file', open, HERE / 'file', 'a')
        tried('hard link', os.link, BAIT['outside'], HERE / 'hard')
        fd = os.open(BAIT['outside'], os.O_RDONLY)
        tried('reopened', open, f'/proc/self/fd/{fd}', 'r+')
        tried('mode', os.fchmod, fd, 0o777)
        tried('mapped', mmap.mmap, fd, 0, mmap.MAP_SHARED, mmap.PROT_WRITE)
        """,
    ),
    Row(
        "secrets in the home",
        """
        for top, _, names in os.walk(BAIT['home']):
            for name in names:
                tried(name, lambda: open(os.path.join(top, name), 'rb').read()[0])
        for name in ('/etc/shadow', '/etc/gshadow', '/etc/sudoers'):
            tried(name, lambda: open(name, 'rb').read()[0])
        """,
    ),
    Row(
        "the environment",
        """
        NOTED.extend(n for n in os.environ if n.startswith(('AWS_', 'SSH_', 'GITHUB_', 'API_')))
        for pid in ('1', 'self'):
            if b'API_TOKEN' in open(f'/proc/{pid}/environ', 'rb').read(): NOTED.append(pid)
        """,
    ),
    Row(
        "hooks of git",
        """
        for name in ('hooks/post-checkout', 'config'):
            (HERE / '.git' / name).parent.mkdir(parents=True, exist_ok=True)
            (HERE / '.git' / name).write_text('#!/bin/sh')
        (HERE / '.envrc').write_text('x')
        """,
        reduced=True,
    ),
    Row(
        "compiled code planted beside",
        """
        import importlib.util, py_compile
        (HERE / 'evil.py').write_text('def add(a, b): return 0')
        cached = importlib.util.cache_from_source(str(HERE / 'candidate.py'))
        py_compile.compile(str(HERE / 'evil.py'), cached)
        """,
    ),
    Row(
        "the whole project deleted",
        "os.chdir('/')\nshutil.rmtree(HERE, ignore_errors=True)",
        ("passed", "failed", "broken", "crashed"),
        reduced=True,
    ),
    Row(
        "its tests turned into what cannot be read to an end",
        """
        test = HERE / 'tests/test_rage.py'
        test.unlink(); test.symlink_to('/dev/zero')
        log = glob.glob('/run/oci/driver.log') + glob.glob('/run/oci/stacks')
        for name in log: os.unlink(name); os.mkfifo(name)
        (HERE / 'tests/conftest.py').unlink(missing_ok=True); os.mkfifo(HERE / 'tests/conftest.py')
        """,
        ("failed", "crashed"),
    ),
)

RAGE: tuple[Row, ...] = (
    *(*BOMBS, *OUTPUT, *LOOPS, *SIGNALS, *LEFT_BEHIND),
    *(*PROCESSES, *NETWORK, *PRIVILEGE, *FILES),
)
