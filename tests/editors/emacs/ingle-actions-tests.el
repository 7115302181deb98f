;;; ingle-actions-tests.el --- Changes by the model, with a server  -*- lexical-binding: t; -*-

;;; Commentary:

;; The daemon's answer to everything is a function `add' in a code block.

;;; Code:

(require 'ingle-test)
(require 'ingle-actions)
(require 'flymake)

(defconst ingle-test-wrong "import os\n\n\ndef add(a, b):\n    return¦ a - b\n")
(defconst ingle-test-right "import os\n\n\ndef add(a, b):\n    return a + b\n")

(defun ingle-test-said (pattern)
  "Wait until the last message matches PATTERN."
  (ingle-test-wait (string-match-p pattern ingle--last-message)))

(ert-deftest ingle-test-refactor-by-an-instruction ()
  (ingle-test-in "main.py" ingle-test-wrong
    (ingle-refactor "make it a sum")
    (ingle-test-wait (equal (ingle-test-text) ingle-test-right))
    (should (looking-at " a \\+ b"))
    (ingle-test-said "done")
    (ingle-test-wait (not ingle-actions--running))
    (let ((argument (aref (plist-get (car (last (ingle-test-sent "workspace/executeCommand")))
                                     :arguments)
                          0)))
      (should (equal (plist-get argument :action) "refactor"))
      (should (equal (plist-get argument :instruction) "make it a sum")))
    (let ((last-command nil)) (undo))
    (should (equal (ingle-test-text) (string-replace "+" "-" ingle-test-right)))
    (should-not (file-exists-p (concat buffer-file-name "~")))
    (should (equal (with-temp-buffer (insert-file-contents file) (buffer-string))
                   (string-replace "+" "-" ingle-test-right)))))

(ert-deftest ingle-test-document ()
  (ingle-test-in "main.py" ingle-test-wrong
    (call-interactively 'ingle-document)
    (ingle-test-wait (equal (ingle-test-text) ingle-test-right))))

(ert-deftest ingle-test-the-region-is-what-is-changed ()
  (ingle-test-in "main.py" ingle-test-wrong
    (goto-char (point-min))
    (forward-line 3)
    (push-mark (point) t t)
    (goto-char (point-max))
    (let ((transient-mark-mode t))
      (should (use-region-p))
      (ingle-refactor "make it a sum"))
    (ingle-test-wait (equal (ingle-test-text) ingle-test-right))
    (let ((range (plist-get (aref (plist-get (car (last (ingle-test-sent
                                                         "workspace/executeCommand")))
                                             :arguments)
                                  0)
                            :range)))
      (should (equal range '(:start (:line 3 :character 0) :end (:line 5 :character 0)))))))

(ert-deftest ingle-test-tests-go-into-their-file ()
  (ingle-test-in "main.py" ingle-test-wrong
    (call-interactively 'ingle-write-tests)
    (ingle-test-said "done\\|main")
    (let ((tests (cl-find-if (lambda (buffer)
                               (string-prefix-p "test_main" (buffer-name buffer)))
                             (buffer-list))))
      (should tests)
      (with-current-buffer tests
        (should (string-match-p "return a \\+ b" (buffer-string)))
        (should (buffer-modified-p))
        (should-not (file-exists-p buffer-file-name))
        (set-buffer-modified-p nil)
        (kill-buffer)))))

(ert-deftest ingle-test-fix-a-problem ()
  (ingle-test-in "main.py" ingle-test-wrong
    (ingle-fix)
    (ingle-test-said "no problem is reported here")
    (setq-local flymake-diagnostic-functions
                (list (lambda (report &rest _)
                        (funcall report (list (flymake-make-diagnostic
                                               (current-buffer) 40 45 :error
                                               "should be a sum"))))))
    (flymake-mode 1)
    (flymake-start)
    (ingle-test-wait (flymake-diagnostics))
    (goto-char 41)
    (ingle-fix)
    (ingle-test-wait (equal (ingle-test-text) ingle-test-right))
    (let ((problem (aref (plist-get (aref (plist-get (car (last (ingle-test-sent
                                                                 "workspace/executeCommand")))
                                                     :arguments)
                                          0)
                                    :diagnostics)
                         0)))
      (should (equal (plist-get problem :message) "should be a sum")))))

(ert-deftest ingle-test-explain ()
  (ingle-test-in "main.py" ingle-test-wrong
    (ingle-explain)
    (ingle-test-wait (get-buffer "*ingle explanation*"))
    (with-current-buffer "*ingle explanation*"
      (should (derived-mode-p 'ingle-explanation-mode))
      (should (string-match-p "Explain: add" (buffer-string)))
      (goto-char (point-min))
      (search-forward "def add")
      ;; Code has the faces of its language.
      (should (memq 'font-lock-keyword-face
                    (ensure-list (get-text-property (match-beginning 0) 'face)))))
    (should (equal (ingle-test-text) (string-replace "¦" "" ingle-test-wrong)))
    (kill-buffer "*ingle explanation*")))

(ert-deftest ingle-test-a-read-only-buffer-is-not-changed ()
  (ingle-test-in "main.py" ingle-test-wrong
    (setq buffer-read-only t)
    (dolist (command '(ingle-document ingle-write-tests ingle-fix))
      (should-error (call-interactively command) :type 'buffer-read-only))
    (should-error (ingle-refactor "x") :type 'buffer-read-only)
    (setq buffer-read-only nil)
    ;; It became so while the model was working.
    (ingle-refactor "make it a sum")
    (ingle-test-wait ingle-actions--running)
    (setq buffer-read-only t)
    (ingle-test-said "read-only")
    (setq buffer-read-only nil)
    (should (equal (ingle-test-text) (string-replace "¦" "" ingle-test-wrong)))))

(ert-deftest ingle-test-an-edit-that-no-longer-applies ()
  (ingle-test-in "main.py" ingle-test-wrong
    (ingle-refactor "make it a sum")
    (ingle-test-wait ingle-actions--running)
    (delete-region (line-beginning-position) (point-max))
    (let ((text (ingle-test-text)))
      (ingle-test-wait (not ingle-actions--running))
      (should (string-match-p "chang" ingle--last-message))
      (should (equal (ingle-test-text) text)))))

(ert-deftest ingle-test-a-buffer-that-is-closed-meanwhile ()
  (ingle-test-in "main.py" ingle-test-wrong
    (ingle-refactor "make it a sum")
    (ingle-test-wait ingle-actions--running)
    (set-buffer-modified-p nil)
    (kill-buffer)
    (ingle-test-wait (not ingle-actions--running))
    (should-not (find-buffer-visiting file))))

(ert-deftest ingle-test-binary-and-huge-buffers ()
  (ingle-test-in "main.py" "a\0b¦"
    (ingle-refactor "x")
    (ingle-test-said "this is a binary file")
    (call-interactively 'ingle-complete)
    (ingle-test-said "no suggestions: this is a binary file")
    (erase-buffer)
    (insert (make-string 200 ?x))
    (let ((ingle-max-buffer-size 100))
      (ingle-explain)
      (ingle-test-said "more than 100 characters"))))

(ert-deftest ingle-test-no-instruction ()
  (ingle-test-in "main.py" ingle-test-wrong
    (ingle-refactor "  ")
    (ingle-test-said "there is no instruction")))

(ert-deftest ingle-test-a-commit-message ()
  (ingle-test-in "main.py" ingle-test-wrong
    (call-process "git" nil nil nil "init" "-q")
    (call-process "git" nil nil nil "add" "main.py")
    (let ((ingle-test-patience 20))
      (with-temp-buffer
        (setq default-directory folder)
        (insert "\n# comment\n")
        (goto-char (point-min))
        (ingle-commit-message)
        (ingle-test-wait (> (buffer-size) 20))
        (should (string-match-p "\n# comment\n" (buffer-string)))))))

(ert-deftest ingle-test-models-and-effort ()
  (ingle-test-in "main.py" ingle-test-wrong
    (ingle-status)
    (ingle-test-said "scripted")
    (ingle-unload-model)
    (ingle-test-said "the model is unloaded")
    (ingle-test-wait (equal (plist-get (ingle--status) :state) "idle"))
    (cl-letf (((symbol-function 'completing-read)
               (lambda (_prompt names &rest _) (should (equal names '("scripted"))) "scripted")))
      (ingle-load-model)
      (ingle-test-said "scripted is loaded"))
    (unwind-protect
        (progn
          (ingle-set-effort 'high)
          (ingle-test-wait (equal (plist-get (ingle--status) :effort) "high")))
      (ingle-set-effort 'default))))

(ert-deftest ingle-test-one-of-several-models ()
  (let (asked)
    (cl-letf (((symbol-function 'ingle--obtain) (lambda (function) (funcall function 'server)))
              ((symbol-function 'ingle--command)
               (cl-function (lambda (_connection name argument &key then &allow-other-keys)
                              (push (list name argument) asked)
                              (funcall then (and (equal name "ingle.models")
                                                 [(:name "one" :installed t :resident t)
                                                  (:name "two" :installed t :resident t)
                                                  (:name "three" :installed :json-false
                                                   :resident :json-false)])))))
              ((symbol-function 'ingle--read-model)
               (lambda (_prompt models)
                 (should (equal (mapcar (lambda (model) (plist-get model :name)) models)
                                '("one" "two")))
                 "two")))
      (ingle-unload-model)
      (ingle-test-wait (assoc "ingle.unloadModel" asked))
      (ingle-load-model)
      (ingle-test-wait (assoc "ingle.loadModel" asked))
      (should (equal (cdr (assoc "ingle.unloadModel" asked)) '((:model "two"))))
      (should (equal (cdr (assoc "ingle.loadModel" asked)) '((:model "two")))))))

(provide 'ingle-actions-tests)
;;; ingle-actions-tests.el ends here
