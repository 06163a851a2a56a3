# Becomes the container of a pod: own mounts, host name, user, and a root that holds this machine's files and cannot be written.
# usage: pod.sh FOLDER USER GROUP MOUNTS COMMAND...   MOUNTS is a file with a line `ro|rw SOURCE TARGET` for each volume.
# PYTHON is the interpreter that COMMAND needs.
set -e
folder=$1 user=$2 group=$3 mounts=$4
shift 4
mount --make-rprivate /
mount -t tmpfs tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
root=$folder/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$root"
place=$PYTHON
while [ "$place" != / ]; do # the user of the pod may reach the interpreter, wherever it is on this machine
    place=$(dirname "$place")
    chmod o+rx "$root$place"
done
while read -r mode source target; do
    chroot "$root" mkdir -p "$target"
    place=$root$(chroot "$root" readlink -f "$target") # /var/run is a link
    mount --bind "$source" "$place"
    [ "$mode" = rw ] || mount -o remount,bind,ro "$place"
done <"$mounts"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,ro "$root"
hostname "$HOSTNAME"
exec chroot "$root" setpriv --reuid "$user" --regid "$group" --groups "$group" --no-new-privs --bounding-set=-all \
    --inh-caps=-all -- "$@"
