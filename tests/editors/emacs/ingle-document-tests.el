;;; ingle-document-tests.el --- The server's copy of a buffer  -*- lexical-binding: t; -*-

;;; Commentary:

;; No server: what would be sent is applied to a copy by other code, and
;; the copy must be the buffer.

;;; Code:

(require 'ingle-test)
(require 'ingle-edits)

(defvar ingle-test-shadow nil "The text that a server would have.")
(defvar ingle-test-changes nil "The changes that were sent, the newest first.")
(defvar ingle-test-utf-32 t "Whether positions count characters.")

(defun ingle-test--offset (text place)
  "The index in TEXT of PLACE, an LSP position; past an end means the end."
  (let ((start 0))
    (dotimes (_ (plist-get place :line))
      (setq start (if (string-match "\r\n\\|[\r\n]" text start)
                      (match-end 0)
                    (length text))))
    (let ((end (or (string-match "[\r\n]" text start) (length text)))
          (units (plist-get place :character)))
      (while (and (> units 0) (< start end))
        (setq units (- units (if (and (not ingle-test-utf-32) (> (aref text start) #xffff))
                                 2 1))
              start (1+ start)))
      start)))

(defun ingle-test--apply (change)
  "Apply CHANGE, of `textDocument/didChange', to the shadow."
  (let ((range (plist-get change :range)))
    (setq ingle-test-shadow
          (if (not range)
              (plist-get change :text)
            (concat (substring ingle-test-shadow 0
                               (ingle-test--offset ingle-test-shadow
                                                   (plist-get range :start)))
                    (plist-get change :text)
                    (substring ingle-test-shadow
                               (ingle-test--offset ingle-test-shadow
                                                   (plist-get range :end))))))))

(defun ingle-test--notify (_connection method params)
  "Stand in for `jsonrpc-notify'."
  (pcase method
    (:textDocument/didOpen
     (setq ingle-test-shadow (plist-get (plist-get params :textDocument) :text)))
    (:textDocument/didChange
     (cl-loop for change across (plist-get params :contentChanges)
              do (push change ingle-test-changes)
              (ingle-test--apply change)))))

(defmacro ingle-test-with-copy (text &rest body)
  "Run BODY in a buffer with TEXT that a pretended server has a copy of."
  (declare (indent 1))
  `(let ((ingle-test-changes nil)
         (server (list 'server)))
     (cl-letf (((symbol-function 'jsonrpc-notify) #'ingle-test--notify)
               ((symbol-function 'jsonrpc-running-p) #'always)
               ((symbol-function 'ingle--connection) (lambda () server))
               ((symbol-function 'ingle--utf-32-p) (lambda (_) ingle-test-utf-32)))
       (with-temp-buffer
         (insert ,text)
         (ingle--sync)
         (should (equal ingle-test-shadow (buffer-string)))
         ,@body))))

(defun ingle-test-in-step ()
  "Fail unless the copy becomes the buffer when it is brought up to date."
  (ingle--sync)
  (should (equal ingle-test-shadow
                 (save-restriction
                   (widen)
                   (ingle--text (point-min) (point-max))))))

(ert-deftest ingle-test-typing-is-sent-as-it-is ()
  (ingle-test-with-copy "one\ntwo\nthree\n"
    (goto-char 6)
    (insert "x")
    (insert "y")
    (ingle-test-in-step)
    (should (equal ingle-test-changes
                   '((:range (:start (:line 1 :character 1) :end (:line 1 :character 1))
                      :text "xy"))))))

(ert-deftest ingle-test-deleting ()
  (ingle-test-with-copy "one\ntwo\nthree"
    (delete-region 2 7)
    (ingle-test-in-step)
    (erase-buffer)
    (ingle-test-in-step)
    (insert "again\nthere is\n")
    (ingle-test-in-step)
    (goto-char (point-max))
    (delete-char -1)
    (ingle-test-in-step)))

(ert-deftest ingle-test-commands-that-confuse-before-change-functions ()
  (ingle-test-with-copy "the first line\nthe second line\n\nthe third,\nwhich is long\n"
    (goto-char 5) (capitalize-word 1) (ingle-test-in-step)
    (goto-char 20) (upcase-region 18 30) (ingle-test-in-step)
    (goto-char (point-max)) (forward-line -2) (let ((fill-column 30)) (fill-paragraph))
    (ingle-test-in-step)
    (transpose-regions 1 4 20 24) (ingle-test-in-step)
    (subst-char-in-region (point-min) (point-max) ?t ?T) (ingle-test-in-step)
    (goto-char (point-min)) (while (search-forward "e" nil t) (replace-match "ee"))
    (ingle-test-in-step)
    (sort-lines nil (point-min) (point-max)) (ingle-test-in-step)
    (let ((source (current-buffer)))
      (with-temp-buffer
        (insert "the First\nand quite another\n")
        (let ((new (current-buffer)))
          (with-current-buffer source (replace-buffer-contents new)))))
    (ingle-test-in-step)))

(ert-deftest ingle-test-narrowing-changes-nothing ()
  (ingle-test-with-copy "one\ntwo\nthree\nfour\n"
    (narrow-to-region 5 8)
    (goto-char 6)
    (insert "x\ny")
    (delete-char 1)
    (ingle-test-in-step)
    (should (equal (ingle--position (point-max) nil) '(:line 2 :character 2)))))

(ert-deftest ingle-test-changes-behind-our-back-are-noticed ()
  (ingle-test-with-copy "one\ntwo\n"
    (let ((inhibit-modification-hooks t)) (insert "more\n"))
    (ingle-test-in-step)
    (insert "x")
    (let ((inhibit-modification-hooks t)) (insert "y"))
    (ingle-test-in-step)))

(ert-deftest ingle-test-carriage-returns-end-lines ()
  (ingle-test-with-copy "one\rtwo\r\nthree\n"
    (should (equal (ingle--position 6 nil) '(:line 1 :character 1)))
    (should (equal (ingle--position 11 nil) '(:line 2 :character 1)))
    (should (= (ingle--point '(:line 2 :character 1) nil) 11))
    (goto-char 6) (insert "x") (ingle-test-in-step)
    (goto-char (point-min)) (search-forward "\r") (delete-char -1) (ingle-test-in-step)
    (insert "\r\n") (ingle-test-in-step)
    (goto-char (point-min)) (while (search-forward "\r" nil t) (replace-match ""))
    (ingle-test-in-step) (insert "z") (ingle-test-in-step)))

(ert-deftest ingle-test-what-is-no-unicode-is-sent-as-a-mark ()
  (ingle-test-with-copy "a"
    (insert (unibyte-char-to-multibyte #xff) "b" (string #xd800) "c" (string #x110000))
    (ingle--sync)
    (should (equal ingle-test-shadow "a\ufffdb\ufffdc\ufffd"))
    (should (json-serialize (list :text ingle-test-shadow)))
    (should (equal (ingle--position (point-max) nil) '(:line 0 :character 6)))))

(ert-deftest ingle-test-positions-in-both-encodings ()
  (ingle-test-with-copy "x = '😀é' # y"
    (should (equal (ingle--position 7 nil) '(:line 0 :character 6)))
    (let ((ingle-test-utf-32 nil))
      (should (equal (ingle--position 7 nil) '(:line 0 :character 7)))
      (should (= (ingle--point '(:line 0 :character 7) nil) 7))
      (should (= (ingle--point '(:line 0 :character 99) nil) (point-max)))
      (should (= (ingle--point '(:line 9 :character 0) nil) (point-max))))))

(defun ingle-test--random-edit ()
  "Edit the buffer somehow."
  (let* ((size (buffer-size))
         (from (1+ (random (1+ size))))
         (to (min (1+ size) (+ from (random 12)))))
    (goto-char from)
    (pcase (random 8)
      ((or 0 1 2) (insert (aref ["x" "\n" "é" "😀" "ab\ncd\n" "\n\n" "word "] (random 7))))
      ((or 3 4) (delete-region from to))
      (5 (upcase-region from to))
      (6 (let ((text (buffer-substring from to)))
           (delete-region from to)
           (insert (reverse text))))
      (7 (when (> size 60) (delete-region from (min (1+ size) (+ from 40))))))))

(ert-deftest ingle-test-two-thousand-random-edits ()
  (dolist (ingle-test-utf-32 '(t nil))
    (random "the same every time")
    (ingle-test-with-copy "def f():\n    return 1\n"
      (dotimes (_ 1000)
        (dotimes (_ (random 4))
          (ingle-test--random-edit))
        (ingle-test-in-step)))))

;;;; Keys

(ert-deftest ingle-test-the-prefix-is-nobody-elses ()
  (require 'log-edit)
  (let ((major (list #'python-mode #'c-mode #'emacs-lisp-mode #'sh-mode #'js-mode #'text-mode
                     #'html-mode #'css-mode #'java-mode #'perl-mode #'ruby-mode #'sql-mode
                     #'makefile-mode #'conf-mode #'org-mode #'latex-mode #'texinfo-mode
                     #'nxml-mode #'outline-mode #'diff-mode #'lisp-mode #'scheme-mode
                     #'tcl-mode #'f90-mode #'log-edit-mode #'message-mode))
        (minor (list #'reftex-mode #'hs-minor-mode #'outline-minor-mode #'flymake-mode
                     #'orgtbl-mode #'smerge-mode #'electric-pair-mode)))
    (dolist (mode major)
      (with-temp-buffer
        (funcall mode)
        ;; Some of them refuse some buffers.
        (dolist (other minor) (ignore-errors (funcall other 1)))
        (should-not ingle-mode)
        (should (equal (list mode (key-binding (kbd "C-c _"))) (list mode nil)))))))

(ert-deftest ingle-test-the-prefix-can-be-changed ()
  (let ((before ingle-keymap-prefix))
    (unwind-protect
        (progn
          (should (eq (lookup-key ingle-mode-map (kbd "C-c _ c")) 'ingle-chat))
          (customize-set-variable 'ingle-keymap-prefix "C-c (")
          (should (eq (lookup-key ingle-mode-map (kbd "C-c ( c")) 'ingle-chat))
          (should-not (lookup-key ingle-mode-map (kbd "C-c _")))
          (customize-set-variable 'ingle-keymap-prefix nil)
          (should-not (lookup-key ingle-mode-map (kbd "C-c ("))))
      (customize-set-variable 'ingle-keymap-prefix before))))

(ert-deftest ingle-test-every-key-and-menu-entry-is-a-command ()
  (dolist (entry (remq nil ingle--commands))
    (should (commandp (nth 2 entry)))
    (should (eq (lookup-key ingle-command-map (vector (nth 0 entry))) (nth 2 entry)))
    (autoload-do-load (symbol-function (nth 2 entry)) (nth 2 entry))
    (should (documentation (nth 2 entry))))
  (should (keymapp ingle-menu-map)))

;;;; Edits

(defun ingle-test--edit (version &rest edits)
  "A WorkspaceEdit of this buffer at VERSION; EDITS are (START-LINE START END-LINE END TEXT)."
  (list :documentChanges
        (vector
         (list :textDocument (list :uri (ingle--copy-uri ingle--copy) :version version)
               :edits (vconcat
                       (mapcar (pcase-lambda (`(,line ,start ,to ,end ,text))
                                 `(:range (:start (:line ,line :character ,start)
                                           :end (:line ,to :character ,end))
                                   :newText ,text))
                               edits))))))

(ert-deftest ingle-test-edits-are-one-step-to-undo ()
  (ingle-test-with-copy "def add(a, b):\n    return a - b\n"
    (rename-buffer "edited.py")
    (ingle--sync)
    (buffer-enable-undo)
    (goto-char 4)
    (should-not (ingle--apply-workspace-edit
                 (ingle-test--edit (ingle--copy-version ingle--copy)
                                   '(1 13 1 14 "+") '(0 0 0 0 "# sums\n") '(0 0 0 0 "# two\n"))))
    (should (equal (buffer-string) "# sums\n# two\ndef add(a, b):\n    return a + b\n"))
    (should (looking-at " add"))
    (undo-boundary)
    (let ((last-command nil)) (undo))
    (should (equal (buffer-string) "def add(a, b):\n    return a - b\n"))))

(ert-deftest ingle-test-edits-that-do-not-fit-are-refused ()
  (ingle-test-with-copy "one\n"
    (rename-buffer "refused.txt")
    (ingle--sync)
    (let* ((version (ingle--copy-version ingle--copy))
           (edit (ingle-test--edit version '(0 0 0 3 "two"))))
      (should (string-match-p "changed" (ingle--apply-workspace-edit
                                         (ingle-test--edit (1- version) '(0 0 0 0 "x")))))
      (setq buffer-read-only t)
      (should (string-match-p "read-only" (ingle--apply-workspace-edit edit)))
      (setq buffer-read-only nil)
      (save-excursion (goto-char (point-max)) (insert "typed meanwhile"))
      (should (string-match-p "changed" (ingle--apply-workspace-edit edit)))
      (should (equal (buffer-string) "one\ntyped meanwhile"))
      (should (string-match-p
               "gone" (ingle--apply-workspace-edit
                       '(:documentChanges [(:textDocument (:uri "untitled:nowhere" :version 1)
                                            :edits [])]))))
      (should (string-match-p
               "rename" (ingle--apply-workspace-edit
                         '(:documentChanges [(:kind "rename" :oldUri "file:///a"
                                              :newUri "file:///b")])))))))

(ert-deftest ingle-test-new-files-wait-to-be-saved ()
  (let* ((folder (make-temp-file "ingle-test" t))
         (file (expand-file-name "test new.py" folder))
         (uri (ingle--file-uri file))
         (edit `(:documentChanges
                 [(:kind "create" :uri ,uri)
                  (:textDocument (:uri ,uri :version nil)
                   :edits [(:range (:start (:line 0 :character 0) :end (:line 0 :character 0))
                            :newText "assert True\n")])])))
    (unwind-protect
        (ingle-test-with-copy ""
          (should-not (ingle--apply-workspace-edit edit))
          (with-current-buffer (find-buffer-visiting file)
            (should (equal (buffer-string) "assert True\n"))
            (should (buffer-modified-p))
            (should-not (file-exists-p file))
            (set-buffer-modified-p nil)
            (kill-buffer))
          (write-region "kept" nil file)
          (should (string-match-p "exists" (ingle--apply-workspace-edit edit))))
      (delete-directory folder t))))

(ert-deftest ingle-test-uris-and-files ()
  (let ((file "/tmp/a b/ü#?%.py"))
    (should (equal (ingle--uri-file (ingle--file-uri file)) file)))
  (with-temp-buffer
    (rename-buffer "scratch & co")
    (should (eq (ingle--uri-buffer (ingle--uri)) (current-buffer)))))

(ert-deftest ingle-test-buffers-that-are-refused ()
  (with-temp-buffer
    (should-not (ingle--refusal))
    (insert "a\0b")
    (should (string-match-p "binary" (ingle--refusal)))
    (erase-buffer)
    (set-buffer-multibyte nil)
    (should (string-match-p "binary" (ingle--refusal))))
  (with-temp-buffer
    (insert (make-string 200 ?x))
    (let ((ingle-max-buffer-size 100))
      (should (string-match-p "100 characters" (ingle--refusal))))
    (let ((clone (make-indirect-buffer (current-buffer) "ingle-indirect")))
      (with-current-buffer clone
        (should (string-match-p "indirect" (ingle--refusal)))
        (kill-buffer)))
    (setq buffer-file-name "/ssh:elsewhere:/a.py")
    (should (string-match-p "other machines" (ingle--refusal)))
    (setq buffer-file-name nil)))

(ert-deftest ingle-test-language-identifiers ()
  (dolist (pair '((python-mode . "python") (emacs-lisp-mode . "emacs-lisp")
                  (c++-mode . "cpp") (sh-mode . "shellscript") (js-mode . "javascript")
                  (c-ts-mode . "c") (text-mode . "plaintext")))
    (let ((major-mode (car pair)))
      (should (equal (ingle--language-id) (cdr pair))))))

(provide 'ingle-document-tests)
;;; ingle-document-tests.el ends here
